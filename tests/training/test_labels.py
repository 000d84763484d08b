"""Labels without looking at the truth: made once, found again, the same for any number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geometry.camera import rigid_flow
from scenegraph_track.training.labels import LabelSettings, make_label

TINY = {"presets": {"static": 1.0}, "size": 64, "frames": 5, "frame_rates": [6.0]}


@pytest.fixture(scope="module")
def label() -> dict[str, np.ndarray]:
    """A scene whose camera translates."""
    settings = LabelSettings(**TINY)
    found = (make_label(index, settings, "dis_sparse") for index in range(20))
    return next(label for label in found if label["translates"] and (label["confidence"] > 127).mean() > 0.3)


def test_what_a_label_holds(label: dict[str, np.ndarray]) -> None:
    assert label["image"].shape == label["other"].shape == (3, 64, 64) and label["image"].dtype == np.uint8
    known = label["depth"] > 0
    assert np.array_equal(known, label["confidence"] > 0) or (label["confidence"][~known] == 0).all()
    sure = label["confidence"] > 0.5 * 255
    assert np.median(label["depth"][sure].astype(float)) == pytest.approx(1, abs=0.02), "the unit is the median depth"


def test_depth_and_motion_explain_the_flow(label: dict[str, np.ndarray]) -> None:
    # One scale for both: the camera's flow from label depth and label motion is the flow, where depth is sure.
    import torch

    depth, motion, k = (torch.from_numpy(label[name].astype(np.float64)) for name in ("depth", "motion", "intrinsics"))
    camera = rigid_flow(depth[None, None], motion[None], k[None])[0].numpy()
    sure = (label["confidence"] > 180) & label["trusted"]
    error = np.linalg.norm(camera - label["flow"].astype(float), axis=0)[sure]
    assert np.median(error) < 0.4 * np.median(np.linalg.norm(label["flow"].astype(float), axis=0)[sure]) + 0.2


def test_the_same_number_gives_the_same_label() -> None:
    settings = LabelSettings(**TINY)
    one, two = make_label(3, settings, "dis_sparse"), make_label(3, settings, "dis_sparse")
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["image"], make_label(4, settings, "dis_sparse")["image"])


def test_only_cameras_that_were_asked_for(tmp_path: Path) -> None:
    settings = LabelSettings(**{**TINY, "cameras": ["drive"]})
    assert make_label(0, settings, "dis_sparse")["translates"]
    with pytest.raises(ValueError, match="static"):
        LabelSettings(cameras=["still"])
