"""Weights and modules that are not there, or are of something else: an exit code and one sentence, no traceback."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from scenegraph_track.cli.app import run
from scenegraph_track.training.weights import save_weights

TRACK = ["track", "clip", "--out", "out", "--frame-rate", "10", "--config", "embedded"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a clip of two frames and weights of a network for flow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip").mkdir()
    for k in range(2):
        cv2.imwrite(str(tmp_path / "clip" / f"{k}.png"), np.full((48, 64, 3), 90 * k, np.uint8))
    save_weights(tmp_path / "flow.safetensors", {"flow.x": torch.zeros(2)}, {})
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["detector.weights=nope"], "detector: nope: no such file of weights"),
        (["detector.weights=flow.safetensors"], "detector: flow.safetensors: the weights of detector do not fit"),
        (
            ["detector.kind=transformers", "detector.weights=/no/such"],
            "detector: /no/such: expected a folder, or a hub id such as PekingU/rtdetr_v2_r18vd",
        ),
        (
            ["detector.kind=transformers", "detector.weights=no/such"],
            "detector: no/such: no such folder, and not to be had from the hub: check the id and the connection",
        ),
    ],
)
def test_track(
    settings: list[str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoConfig

    def out_of_reach(*args: object, **options: object) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nto load the files.")

    monkeypatch.setattr(AutoConfig, "from_pretrained", out_of_reach)
    assert run([*TRACK, *(word for setting in settings for word in ("--set", setting))]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"error: {message}") and said.err.count("\n") == 1
    assert not list((folder / "out").glob("*"))


def test_train(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ["--set", "train.accelerator=cpu", "--set", "train.start.detektor=embedded"]
    assert run(["train", "detector", *sets, "--out", "run", "--dry-run"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: train.start: expected modules of detector, found detektor\n")
    assert not (folder / "run").exists()
