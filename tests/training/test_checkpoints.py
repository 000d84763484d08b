"""Checkpoints: whole or absent, a few, readable without unpickling anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.training.checkpoints import Checkpoints, Progress, commit, load_state
from scenegraph_track.training.settings import load_recipe


def test_the_newest_are_kept_and_broken_ones_cleared(tiny: Path, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, load_recipe(tiny))
    assert checkpoints.newest() is None
    broken = tmp_path / "checkpoints" / ".step-00000007.0a1b2c3d.tmp"  # a run was killed while it wrote
    broken.mkdir(parents=True)
    for step in (9, 10, 11):
        checkpoints.save(Progress(step, best=0.5), {"modules": {"w": torch.ones(2)}}, {"w": torch.ones(2)})
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000010", "step-00000011"]
    progress, state = load_state(checkpoints.newest())
    assert progress == Progress(11, best=0.5)
    assert torch.equal(state["modules"]["w"], torch.ones(2))


def test_a_checkpoint_without_state_and_damaged_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such state of a run"):
        load_state(tmp_path)
    torch.save({"progress": {}, "modules": torch.ones(2000)}, tmp_path / "state.pt")
    whole = (tmp_path / "state.pt").read_bytes()
    for damaged in (b"", b"not this", whole[:1000], whole[: len(whole) // 2]):
        (tmp_path / "state.pt").write_bytes(damaged)
        with pytest.raises(UserError, match="the state is damaged"):
            load_state(tmp_path)


def test_a_state_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"progress": {}, "modules": Path("anything but plain values")}, tmp_path / "state.pt")
    with pytest.raises(UserError, match="the state is damaged"):
        load_state(tmp_path)


def test_the_commit_is_that_of_the_checkout() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", commit() or "0" * 40)
