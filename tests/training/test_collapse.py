"""Signs of a collapse, the watch that follows them, and runs that stop by it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from geometry.pose import target_from_source
from scenegraph_track.training.collapse import CollapseLimits, CollapseWatch, collapse_signs
from scenegraph_track.training.loop import TrainingFailed
from scenegraph_track.training.photometric_losses import flow_of_camera
from scenegraph_track.training.run import run_training

COLLAPSES = [
    "data.worlds=2",
    "data.parallax=0",
    "data.size=32",
    "data.windows=1",
    "data.validation_windows=1",
    "train.accelerator=cpu",
    "train.log_every=1",
    "train.warmup_steps=0",
    "regime=ssim_l1_joint",
    "collapse.warmup=0",
    "collapse.depth_variation=99",
    "collapse.translation=0",
    "collapse.pose_agreement=1e9",
]
"""A small run whose every entry shows a collapse: no depth varies enough."""

GOOD = {"depth_variation": 0.4, "translation": 0.02, "pose_agreement": 0.6}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"depth_variation": 0.02}, "depth is constant: std/mean 0.02 < 0.05"),
        ({"translation": 0.0003}, "camera does not move: |t|/depth 0.0003 < 0.001"),
        ({"pose_agreement": 1.02}, "camera motion explains no flow: what is left of it 1 > 0.95"),
        (
            {"depth_variation": 0.02, "translation": 0.0},
            "depth is constant: std/mean 0.02 < 0.05 and camera does not move: |t|/depth 0 < 0.001",
        ),
        ({}, None),
    ],
)
def test_collapse_is_named(bad: dict[str, float], sentence: str | None) -> None:
    watch = CollapseWatch(CollapseLimits(patience=1, warmup=10))
    assert watch.see(20, GOOD | bad, 20, 20) == sentence
    assert watch.collapsed == (None if sentence is None else (20, sentence))


def test_collapse_needs_patience_and_training() -> None:
    watch = CollapseWatch(CollapseLimits(patience=2, warmup=10))
    bad = GOOD | {"depth_variation": 0.0}
    assert watch.see(10, bad, 10, 10) is None  # not trained for long enough
    assert watch.see(20, bad, 0, 20) is None  # not trained at all
    assert watch.see(30, bad, 20, 20) is None  # the first
    assert watch.see(40, bad, 30, 30) is not None
    assert watch.collapsed is not None and watch.collapsed[0] == 30
    assert watch.see(50, GOOD, 40, 40) is None and watch.collapsed is None  # recovered
    assert watch.see(60, bad, 50, 50) is None  # begins anew


def test_signs_of_a_collapse() -> None:
    intrinsics = torch.tensor([[[9.0, 0.0, 3.0], [0.0, 9.0, 3.0], [0.0, 0.0, 1.0]]])
    depth = torch.full((1, 1, 8, 8), 2.0)
    moved = target_from_source(torch.zeros(1, 2, 3), torch.tensor([0.2, 0.0, 0.0]).expand(1, 2, 3))
    flow = flow_of_camera(depth, moved, intrinsics)
    still = torch.eye(4).expand(1, 2, 4, 4)
    trusted = torch.ones(1, 2, 1, 8, 8, dtype=torch.bool)
    right = collapse_signs(depth, moved, flow, flow, trusted)
    assert {name: round(float(value), 4) for name, value in right.items()} == {
        "depth_variation": 0.0,
        "translation": 0.1,
        "pose_agreement": 0.0,
    }
    wrong = collapse_signs(depth, still, torch.zeros_like(flow), flow, trusted)
    assert float(wrong["pose_agreement"]) == 1
    assert math.isfinite(float(collapse_signs(depth, still, flow, flow, ~trusted)["pose_agreement"]))


def test_the_watch_goes_on_from_what_it_has_seen() -> None:
    limits, bad = CollapseLimits(patience=3, warmup=0), GOOD | {"depth_variation": 0.0}
    watch = CollapseWatch(limits)
    assert watch.see(1, bad, 1, 1) is None and watch.see(2, bad, 2, 2) is None
    later = CollapseWatch(limits)
    later.load_state(watch.state())
    assert watch.see(3, bad, 3, 3) == later.see(3, bad, 3, 3) is not None
    assert later.collapsed == watch.collapsed and later.collapsed is not None and later.collapsed[0] == 1
    again = CollapseWatch(limits)
    again.load_state(later.state())
    assert again.collapsed == later.collapsed


def test_a_collapse_stops_the_run_or_is_reported(tmp_path: Path) -> None:
    options = [*COLLAPSES, "train.steps=3", "collapse.patience=2"]
    with pytest.raises(TrainingFailed, match=r"step 2: collapse: depth is constant: std/mean .* < 99"):
        run_training("geometry", options, tmp_path / "stop")
    assert run_training("geometry", [*options, "collapse.on_collapse=report"], tmp_path / "report").is_file()


def test_a_resumed_run_stops_at_the_same_step(tmp_path: Path) -> None:
    # Five entries in a row, of which the checkpoint has seen four.
    options = [*COLLAPSES, "train.steps=8", "train.checkpoint_every=4", "collapse.patience=5"]
    for resume in (False, True):
        with pytest.raises(TrainingFailed, match=r"step 5: collapse: .* the last good checkpoint is .*step-00000004"):
            run_training("geometry", options, tmp_path, resume=resume)
