"""The stage that teaches language."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scenegraph_track.training.language import LanguageStage, aspect_loss, cell_loss, coverage, match_loss
from scenegraph_track.training.run import run_training
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.weights import read_metadata

SMALL = [
    "clips.size=[64, 48]",
    "clips.frames=2",
    "data.clips=2",
    "data.workers=0",
    "language_net.channels=[4, 6, 8]",
    "language_net.stages=2",
    "language_net.heads=2",
    "language_net.text_dim=8",
    "language_net.tower=8",
    "trunk_from=none",
    "loss.looks_first=1",
    "train.accelerator=cpu",
]


def truth(true: list[bool]) -> dict[str, torch.Tensor]:
    ones = torch.ones(1, len(true), dtype=torch.bool)
    return {"true": torch.tensor([true]), "there": ones, "clear": ones.clone()}


def test_the_right_object_costs_least() -> None:
    right, hit = match_loss(torch.tensor([[4.0, -4]]), truth([True, False]))
    wrong, miss = match_loss(torch.tensor([[-4.0, 4]]), truth([True, False]))
    assert right < wrong and hit == 1 and miss == 0


def test_a_sentence_that_is_true_of_nothing_wants_all_below_zero() -> None:
    quiet, hit = match_loss(torch.tensor([[-4.0, -4]]), truth([False, False]))
    loud, miss = match_loss(torch.tensor([[4.0, -4]]), truth([False, False]))
    assert quiet < loud and hit == 1 and miss == 0


def test_what_cannot_be_seen_is_no_choice() -> None:
    hidden = truth([True, False])
    hidden["there"][0, 1] = False
    assert match_loss(torch.tensor([[1.0, 9]]), hidden)[1] == 1


def test_looks_that_nobody_knows_do_not_count() -> None:
    aspects = torch.zeros(1, 1, 43)
    codes = torch.zeros(1, 1, 7, dtype=torch.long)
    known = {"clear": torch.ones(1, 1, dtype=torch.bool), "codes": codes}
    unknown = {**known, "codes": codes.clone()}
    unknown["codes"][..., 4] = -1
    assert aspect_loss(aspects, known)[0] - aspect_loss(aspects, unknown)[0] == pytest.approx(torch.tensor(5.0).log())


def test_coverage_is_the_part_of_a_cell() -> None:
    instance = torch.zeros(1, 4, 4, dtype=torch.uint8)
    instance[0, :2, :1] = 1
    found = coverage(instance, 2, 8)
    assert found[0, 0].tolist() == [[0.5, 0], [0, 0]] and found[0, 1].sum() == 0


def test_cells_are_balanced() -> None:
    target = torch.tensor([[1.0, 0, 0, 0]])
    assert cell_loss(torch.tensor([[9.0, -9, -9, -9]]), target) < 0.01
    assert cell_loss(torch.tensor([[-9.0, -9, -9, -9]]), target) > 4


def test_the_recipe_runs_and_its_weights_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps, of looks and of sentences, with validation; then the file answers a question."""
    from scenegraph_track.language.reading import Reader
    from scenegraph_track.training import language_data

    monkeypatch.setattr(LanguageStage, "validate", lambda self: {"first_frame": 0.5})
    make = language_data.make_language_clip
    monkeypatch.setattr(
        language_data, "Chunks", lambda s, m, n, few, rank, size: _Few({k: v[None] for k, v in make(0, s).items()})
    )
    settings = [*SMALL, "train.steps=2", "train.warmup_steps=1", "train.log_every=1", "train.validate_every=2"]
    best = run_training("language", settings, tmp_path / "run")
    assert read_metadata(best)["held_out"]["first_frame"] == 0.5
    reader = Reader.load(best)
    assert len(reader.places(reader.look(torch.rand(3, 48, 64)), "the red disk")) >= 1


class _Few:
    def __init__(self, arrays: dict) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return 1

    def rows(self, chosen):
        for index in chosen:
            yield {name: values[index] for name, values in self.arrays.items()}


@pytest.mark.parametrize("change", ["language_net.target_enhance=false", "language_net.semantic_aware=false"])
def test_modules_can_be_left_out(change: str) -> None:
    torch.manual_seed(0)
    stage = load_recipe("language", [*SMALL, change]).create_stage()
    whole = load_recipe("language", SMALL).create_stage()
    assert sum(p.numel() for p in stage.net.parameters()) < sum(p.numel() for p in whole.net.parameters())
