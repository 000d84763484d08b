"""The stage of the point tracker: its loss, that it learns, and how it is judged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from scenegraph_track.evaluation.point_clips import PointClip
from scenegraph_track.occlusion.point_features import LEVELS
from scenegraph_track.occlusion.point_net import Supposed
from scenegraph_track.training.point_data import PointData, draw_points
from scenegraph_track.training.points import PointStage

NET = {
    "channels": (4, 6, 8),
    "features": 8,
    "dim": 16,
    "layers": 1,
    "heads": 2,
    "virtual": 3,
    "window": 4,
    "stride": 2,
    "iterations": 2,
}


class Textures:
    """Clips of noise that moves by a whole number of pixels, with points of it."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.items = []
        for _ in range(4):
            whole = rng.integers(0, 256, (30, 36, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
            way = rng.integers(-3, 4, 2)
            points = rng.uniform(16, 48, (12, 2))
            steps = np.arange(8)[:, None] * way
            images = np.stack([whole[30 - y : 78 - y, 40 - x : 104 - x] for x, y in steps])
            tracks = (points[None] + steps[:, None]).astype(np.float32)
            seen = ((tracks >= 0) & (tracks < (64, 48))).all(-1)
            self.items.append({"images": images, "tracks": tracks, "seen": seen})

    def __len__(self) -> int:
        return len(self.items)

    def rows(self, chosen):
        return (self.items[index] for index in chosen)


@pytest.fixture
def stage() -> PointStage:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return PointStage(PointStage.Settings(point_net=NET), 0)


def test_it_learns_a_batch_by_heart(stage: PointStage) -> None:
    data = PointData(colour=0, noise=0, frames=6, points=12, pasted=0.5, workers=0)
    batch = draw_points(np.random.default_rng(0), Textures(), data)
    optimiser, losses = torch.optim.Adam(stage.net.parameters(), 1e-2), []
    for step in range(12):
        loss, parts = stage.loss(batch, step)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.8 * losses[0]
    assert set(parts) == {"distance", "fit", "start", "visibility"} and parts["visibility"] > 0.8


def test_errors_by_hand(stage: PointStage) -> None:
    # One point off by 3 pixels, seen; one by 4, hidden, counts a fifth; what is not counted is not there.
    tracks = torch.zeros(1, 3, 1, 2)
    positions = torch.tensor([[[[3.0, 0.0]], [[0.0, 4.0]], [[99.0, 99.0]]]])
    seen, counted = torch.tensor([[[True], [False], [True]]]), torch.tensor([[[True], [True], [False]]])
    logits = torch.tensor([[[20.0], [20.0], [-20.0]]])
    fits = torch.zeros(1, 3, 1, LEVELS, 25)
    found = Supposed(positions, logits, logits, fits=fits)
    total, parts = stage.error(found, [found], tracks, seen, counted)
    place = (2 * (4**0.5 - 1) + 0.2 * 2 * (5**0.5 - 1)) / 1.2
    visible = 20 / 2  # wrong by a logit of 20 for one of two
    fit = stage.settings.loss.fit * math.log(25)  # nothing tells one of 25 shifts
    assert float(total) == pytest.approx(0.5 * place + visible + fit, abs=1e-2)
    assert float(parts["distance"]) == pytest.approx(3, abs=1e-3) and float(parts["visibility"]) == 0.5


def test_later_iterations_count_more(stage: PointStage) -> None:
    tracks, flags = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, dtype=torch.bool)
    fits = torch.zeros(1, 1, 1, LEVELS, 25)
    good, bad = (Supposed(torch.full((1, 1, 1, 2), x), *torch.full((2, 1, 1, 1), 20.0), fits=fits) for x in (0.0, 5.0))
    none, early, late = (
        float(stage.error(good, found, tracks, flags, flags)[0]) for found in ([good, good], [bad, good], [good, bad])
    )
    assert (late - none) / (early - none) == pytest.approx(1 / 0.8, rel=0.05)


def test_validation_has_the_figures_of_eval(stage: PointStage) -> None:
    item = Textures().items[0]
    images = [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in item["images"]]
    tracks, seen = item["tracks"].swapaxes(0, 1), item["seen"].T
    queries = np.column_stack([np.zeros(12), tracks[:, 0]]).astype(np.float32)
    counted = np.ones_like(seen) & (np.arange(8) > 0)
    stage.__dict__["_held_out"] = [PointClip("a", images, queries, tracks, seen, counted, np.zeros(12, bool))]
    stage.net.eval()
    found = stage.validate()
    assert {"occlusion_accuracy", "delta_avg", "average_jaccard"} <= set(found)
    assert 0 < found["delta_avg"] <= 100 and found == stage.validate()


def test_the_trained_weights_are_those_of_the_tracker(stage: PointStage, tmp_path: Path) -> None:
    from scenegraph_track.occlusion.embedded import point_network
    from scenegraph_track.training.weights import save_weights

    weights = {f"points.{name}": value for name, value in stage.modules()["points"].state_dict().items()}
    recipe = stage.settings.model_dump(mode="json")
    save_weights(tmp_path / "w.safetensors", weights, {"recipe": recipe})
    found = point_network(tmp_path / "w.safetensors")
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in stage.net.state_dict().items())
