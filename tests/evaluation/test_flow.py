"""End-point error of flow by region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.evaluation.clips import Recording, SyntheticClip, Worlds
from scenegraph_track.evaluation.flow import end_point_error, flow_figures, flow_regions, measure_flow
from scenegraph_track.evaluation.tally import Tally

SMALL = Worlds(sequences=2, size=(48, 48), frames=6)


def test_error_by_hand() -> None:
    flow = np.array([[[3, 4], [0, 1]]])
    np.testing.assert_allclose(end_point_error(flow, np.zeros((1, 2, 2))), [[5, 1]])


def test_regions_part_the_pixels_that_stay_visible() -> None:
    # Objects and the outline's band may overlap; the background is what is in neither.
    clip = render(sample_scene("standard", "test", seed=1, size=(64, 64), frames=3))
    frame = clip.frames[1]
    regions = flow_regions(frame, len(clip.scene.objects))
    for mask in regions.values():
        assert not (mask & frame.occluded_forward).any()
    assert not (regions["background"] & (regions["moving"] | regions["border"])).any()
    np.testing.assert_array_equal(np.logical_or.reduce(list(regions.values())), ~frame.occluded_forward)
    assert all(mask.any() for mask in regions.values())


class Oracle:
    """The true flow of the pairs of a clip, plus a constant."""

    def __init__(self, clip: SyntheticClip, off: float) -> None:
        self.clip, self.off = clip, off

    def __call__(self, image_a: Tensor, image_b: Tensor) -> Tensor:
        index = next(k for k, image in enumerate(self.clip.images) if image is image_a)
        return torch.from_numpy(self.clip.flow(index)[0].transpose(2, 0, 1)) + self.off


def test_true_flow_has_no_error() -> None:
    # A flow that is off by (1, 1) everywhere has an error of sqrt 2 everywhere.
    clip = SMALL.clip(1)
    assert isinstance(clip, SyntheticClip)
    methods = {"learned": Oracle(clip, 0.0), "dis_fast": Oracle(clip, 1.0), "dis_fine": Oracle(clip, 2.0)}
    tally, shown = measure_flow(clip, methods)
    found = flow_figures(tally)
    assert found["epe_moving"] == found["epe_border"] == found["epe_background"] == 0
    assert found["epe_moving_dis"] == pytest.approx(np.sqrt(2)) and found["dis"] == "dis_fast"
    assert found["methods"]["dis_fine"]["epe_background"] == pytest.approx(np.sqrt(8))
    np.testing.assert_array_equal(shown["truth"], shown["learned"])
    assert set(shown) == {"image", "truth", *methods}


def test_pixels_of_all_clips_count_alike() -> None:
    tallies = []
    for errors in ([1.0, 1.0, 1.0], [5.0]):
        tally = Tally()
        for name in ("dis_fast", "dis_fine"):
            tally.add(f"{name} moving", np.array(errors))
            tally.add(f"{name} ms", 3.0)
        tallies.append(tally)
    found = flow_figures(Tally.join(tallies))
    assert found["epe_moving_dis"] == pytest.approx(2.0) and "epe_moving" not in found


def test_recording(shared_data: Path) -> None:
    # The true flow of a recording is that of its camera: DIS is within about a pixel of it, and no object is known.
    clip = Recording(shared_data / "rgbd" / "seven_scenes_60").clip(0)
    tally, shown = measure_flow(clip, dict.fromkeys(("dis_fast", "dis_fine"), "dis_fast"))
    found = flow_figures(tally)
    motion = np.linalg.norm(shown["truth"], axis=-1)[clip.flow(clip.pairs[0])[1]["background"]].mean()
    assert found["epe_background_dis"] < 0.5 * motion and np.isnan(found["epe_moving_dis"])
