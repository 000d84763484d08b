"""The stage of the detector and the labels that it learns from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.training.detector import DetectorData, DetectorStage, draw_image, segment_image
from scenegraph_track.training.object_labels import UNKNOWN, ObjectLabelSettings, make_object_label

TINY = {"size": 64, "frame_rates": [8.0], "flow": "dis_sparse"}


class Rows:
    """One label with two objects, one unknown patch, and a residual."""

    def __init__(self) -> None:
        labels = np.zeros((64, 64), np.uint8)
        labels[8:24, 8:24], labels[30:50, 34:60], labels[52:60, 4:12] = 1, 2, UNKNOWN
        residual = np.zeros((2, 2, 64, 64), np.float16)
        residual[:, 0, 8:24, 8:24], residual[:, 1, 30:50, 34:60] = 3, -2
        rng = np.random.default_rng(0)
        self.item = {
            "image": rng.integers(0, 256, (3, 64, 64)).astype(np.uint8),
            "residual": residual,
            "labels": labels,
        }
        self.item["image"][:, labels == 1] //= 8
        self.item["image"][0, labels == 2] = 255

    def __len__(self) -> int:
        return 1

    def rows(self, chosen):
        return (self.item for _ in chosen)


def stage(**data) -> DetectorStage:
    torch.manual_seed(0)
    kind = DetectorStage
    net = {"channels": (8, 12, 16, 16), "dim": 8, "embedding": 4}
    return kind(kind.Settings(data={"crop": 64, "zoom": 1.0, **data}, detector_net=net), 0)


def batch(data: DetectorData, count: int = 6) -> dict[str, torch.Tensor]:
    items = [draw_image(np.random.default_rng(k), Rows(), None, data) for k in range(count)]
    return {name: torch.cat([item[name] for item in items]) for name in items[0]}


def test_labels_follow_from_their_number_and_know_no_truth() -> None:
    settings = ObjectLabelSettings(**TINY)
    one, two = (make_object_label(3, settings) for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["image"], make_object_label(4, settings)["image"])
    assert one["flow"].shape == one["residual"].shape == (2, 2, 64, 64) and one["labels"].dtype == np.uint8


def test_labels_lie_on_what_moves() -> None:
    settings = ObjectLabelSettings(**{**TINY, "size": 96})
    inside, outside = [], []
    for index in range(8):
        found = make_object_label(index, settings)
        length = np.linalg.norm(found["residual"][0].astype(float), axis=0)
        objects = (found["labels"] > 0) & (found["labels"] != UNKNOWN)
        inside += length[objects].tolist()
        outside += length[found["labels"] == 0].tolist()
    assert len(inside) > 200 and np.median(inside) > 5 * np.median(outside)


def test_only_presets_with_such_cameras() -> None:
    with pytest.raises(ValueError, match="static"):
        ObjectLabelSettings(preset="static", cameras=["still"])


def test_drawing_keeps_image_motion_and_labels_together() -> None:
    data = DetectorData(crop=64, zoom=1.0, colour=0, noise=0, motion_noise=0, still=0, parallax=0)
    for seed in range(6):
        item = draw_image(np.random.default_rng(seed), Rows(), None, data)
        length = item["residual"][0].norm(dim=0)
        assert torch.equal(length > 1, (item["labels"][0] == 1) | (item["labels"][0] == 2))
        assert item["image"][0, :, item["labels"][0] == 1].mean() < 0.2
    hidden = draw_image(np.random.default_rng(0), Rows(), None, data.model_copy(update={"still": 1.0}))
    assert hidden["residual"].isnan().all() and hidden["labels"].any()


def test_the_loss_falls_and_the_slots_find_the_objects() -> None:
    data = DetectorData(crop=64, zoom=1.0, colour=0, noise=0, motion_noise=0, still=0.5, parallax=0)
    one, shown = stage(), batch(data)
    optimiser = torch.optim.Adam(one.net.parameters(), 6e-3)
    first = one.loss(shown, 0)[0].item()
    for step in range(80):
        loss, _ = one.loss(shown, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.4 * first
    found = segment_image(one.net.eval(), shown["image"][0], shown["residual"][0])
    truth = shown["labels"][0].numpy()
    for k in (1, 2):
        mine = max(
            ((found == j) & (truth == k)).sum() / ((found == j) | (truth == k)).sum() for j in np.unique(found)[1:]
        )
        assert mine > 0.6


def test_unknown_pixels_do_not_count() -> None:
    one, shown = stage(), batch(DetectorData(crop=64, zoom=1.0, still=0, parallax=0), 2)
    found = one.net(shown["image"], shown["residual"])
    found.objectness.retain_grad()
    one.net.forward = lambda *_: found
    one.loss(shown, 0)[0].backward()
    assert not found.objectness.grad[shown["labels"][:, 1::2, 1::2] == UNKNOWN].any()
    assert found.objectness.grad[shown["labels"][:, 1::2, 1::2] == 1].all()


def test_an_image_without_objects_has_a_loss() -> None:
    one, shown = stage(), batch(DetectorData(crop=64, zoom=1.0, still=0, parallax=0), 2)
    loss, parts = one.loss({**shown, "labels": torch.zeros_like(shown["labels"])}, 0)
    loss.backward()
    assert loss.isfinite() and parts["mask"] == 0
