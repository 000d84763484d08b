"""The tiny stage and its recipe, for the tests of the training loop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from scenegraph_track.training.stage import STAGES


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of the stage ``tiny``: 12 steps with everything switched on."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setitem(STAGES, "tiny", "tiny_stage:TinyStage")
    train = {
        "steps": 12,
        "accelerator": "cpu",
        "learning_rate": 0.05,
        "warmup_steps": 3,
        "ema_decay": 0.9,
        "accumulate": 2,
        "log_every": 3,
        "validate_every": 4,
        "checkpoint_every": 4,
        "monitor": "error",
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({"stage": "tiny", "data": {"batch_size": 8}, "dropout": 0.2, "train": train}))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield path
    torch.set_num_threads(threads)
