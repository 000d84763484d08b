"""The comparison with and without JEPA: equal steps from one start, that it goes on, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.target.network import TargetNetSettings, TargetNetwork
from scenegraph_track.training import jepa_ablations
from scenegraph_track.training.jepa_ablations import ROWS, Scale, ablate, summary, table
from scenegraph_track.training.settings import load_recipe
from scenegraph_track.training.weights import save_weights

NET = {"channels": [8, 8, 8], "blocks": [0, 0], "dim": 8, "layers": 1, "decoder_layers": 1, "hidden": 8, "tower": 8}
TINY = (
    "clips.scenes=2",
    "clips.size=[64,48]",
    "clips.frames=3",
    "clips.workers=1",
    "data.batch=2",
    "data.smallest=4",
    "data.validation_clips=1",
    "data.validation_frames=3",
    "target_net.view=32",
    *(f"target_net.{name}={value}" for name, value in NET.items()),
)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scale:
    """Tiny runs from the weights of a tiny network."""
    torch.manual_seed(0)
    settings = TargetNetSettings(**NET, view=32)
    values = {f"target.{name}": value for name, value in TargetNetwork(settings).state_dict().items()}
    path = tmp_path / "start.safetensors"
    save_weights(path, values, {"stage": "target", "recipe": {"target_net": settings.model_dump(mode="json")}})
    monkeypatch.setattr(jepa_ablations, "SHIPPED", path)
    teacher = (f"jepa.weights={json.dumps(str(path))}",)
    return Scale(2, 2, 1, str(tmp_path / "clips"), 1, 3, (0.0, 0.5), (*TINY, "clips.scenes=2"), teacher, TINY)


def test_rows_differ_in_pre_training_alone(asked: Scale) -> None:
    """All are fine-tuned for as many steps with the same settings, but for the predictors and the start."""
    with_, without = (load_recipe("target", asked.tuning(Path("x"), refined, 1)).values() for refined in (True, False))
    assert with_["target_net"].pop("refined") and not without["target_net"].pop("refined")
    assert with_ == without and with_["train"]["steps"] == 2 and not with_["target_net"]["train_backbone"]
    cells, blocks = (load_recipe("jepa", asked.pretraining(row, 1)).values() for row in list(ROWS)[1:])
    assert cells["corruption"]["kinds"] == {"relocate": 1.0} and blocks["corruption"].pop("kinds") == {"occlude": 1.0}
    cells["corruption"].pop("kinds")
    assert cells == blocks and cells["jepa"]["student"] == "teacher"


@pytest.mark.usefixtures("quick_workers")
def test_it_trains_judges_and_goes_on_where_it_was(asked: Scale, tmp_path: Path) -> None:
    out, said = tmp_path / "out.json", []
    first = ablate(["without"], asked, out, said.append)
    assert list(first) == ["without"] and list(first["without"]["0"]["masked"][""]) == ["0", "0.5"]
    assert said[0].startswith("without, seed 0: AO 0.") and "at 50%" in said[0]
    values = json.loads(out.read_text())
    values["rows"]["without"]["0"]["masked"][""]["0.5"]["ao"] = 0.125
    out.write_text(json.dumps(values))

    rows = ablate(["without", "blocks"], asked, out)
    assert rows["without"]["0"]["masked"][""]["0.5"]["ao"] == 0.125, "a run that the file holds is not done again"
    trained = rows["blocks"]["0"]["pretraining"]
    assert trained["step"] == 2 and 0 < trained["agreement"] <= 1 and "val/agreement_occluded" in trained
    assert not list((tmp_path / "out.runs").glob("*/*/checkpoints"))
    assert json.loads(out.read_text())["published_claims"]
    with pytest.raises(UserError, match="figures of another scale"):
        ablate(["without"], Scale(**{**vars(asked), "steps": 3}), out)


def one(ao: float) -> dict:
    return {"masked": {"": {"0": {"ao": ao}, "0.7": {"ao": ao / 2}}}}


def test_spread_and_gain_are_over_seeds() -> None:
    """The gain is measured against the same seed without pre-training."""
    rows = {"without": {"0": one(0.2), "1": one(0.4)}, "blocks": {"0": one(0.3), "1": one(0.5)}}
    told = summary(rows)
    assert told["without"]["0"] == {"ao": pytest.approx([0.3, 0.02**0.5])}
    assert told["blocks"]["0"]["gain"] == pytest.approx([0.1, 0]) and told["blocks"]["0.7"]["gain"][0] == pytest.approx(
        0.05
    )
    columns = {column.header: list(column.cells) for column in table(rows).columns}
    assert columns["gain at 70%"] == ["", "+0.050 ± 0.000"]
    assert columns["AO, 0% masked"][1].startswith("0.400 ±")
    assert "gain" not in summary({"blocks": rows["blocks"]})["blocks"]["0"]
