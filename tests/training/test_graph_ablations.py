"""What each part of the graph tracker is worth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from scenegraph_track.data.streams import simulate
from scenegraph_track.errors import UserError
from scenegraph_track.graph.graph_tracker import GraphTracker
from scenegraph_track.training import graph_ablations
from scenegraph_track.training.graph import judged
from scenegraph_track.training.graph_ablations import compare, variants


def weights(folder: Path, width: int = 8) -> Path:
    """A network with random heads and the recipe that built it."""
    torch.manual_seed(0)
    network = GraphTracker(width=width, layers=2)
    state = {f"graph.{name}": value + 0.3 * torch.randn(value.shape) for name, value in network.state_dict().items()}
    path = folder / f"graph{width}.safetensors"
    save_file(state, path, {"recipe": json.dumps({"graph": {"width": width, "layers": 2}})})
    return path


def test_every_part_is_switched_off_alone(tmp_path: Path) -> None:
    path = weights(tmp_path)
    table = variants(path, {"narrow": weights(tmp_path, 4)}, 1.0)
    assert table["no memory"].cost.network.recurrent is False and table["graph tracker"].cost.network.recurrent
    assert table["no permanence"].settings.life.hidden_seconds == 0
    assert table["narrow"].cost.network.width == 4 and table["half its correction"].cost.strength == 0.5
    stream = simulate("dance", 0, "val", 12)
    situations: list = []

    class Spy:
        def correct(self, situation):  # type: ignore[no-untyped-def]
            situations.append(situation)
            return table["graph tracker"].cost.correct(situation)

        def remember(self, *arguments):  # type: ignore[no-untyped-def]
            return table["graph tracker"].cost.remember(*arguments)

    judged(stream, Spy())
    changes = {
        name: table[name].cost.correct(situations[-1]).change
        for name in (
            "graph tracker",
            "no messages between competitors",
            "no memory",
            "no motion",
            "no overlap",
            "no size",
        )
    }
    whole = changes.pop("graph tracker")
    assert all(not np.allclose(whole, change) for change in changes.values())
    unknown = [table[name].cost.correct(situations[-1]).change for name in ("no appearance", "no depth")]
    assert all(np.array_equal(whole, change) for change in unknown)  # the stream tells neither


@pytest.mark.usefixtures("quick_workers")
def test_the_table_does_not_depend_on_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = weights(tmp_path)
    arguments = ["dance", "--seeds", "2", "--frames", "6", "--json", str(tmp_path / "table.json")]
    monkeypatch.setattr("sys.argv", ["ablations", "--weights", str(path), "--presets", *arguments])
    graph_ablations.main()
    rows = json.loads((tmp_path / "table.json").read_text())
    assert rows == compare(path, {}, 1.0, ["dance"], 2, 6, workers=2)
    assert "no messages between competitors" in capsys.readouterr().out and len(rows) == 11


def test_wrong_weights_end_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such file"):
        variants(tmp_path / "none.safetensors", {}, 1.0)
    monkeypatch.setattr("sys.argv", ["ablations", "--weights", str(tmp_path / "none.safetensors")])
    with pytest.raises(SystemExit, match="no such file"):
        graph_ablations.main()
