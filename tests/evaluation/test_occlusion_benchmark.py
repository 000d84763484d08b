"""The benchmark of identity through occlusion, on a stream so short that it takes a second."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from scenegraph_track.data.sequences import find_sequences

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "occlusion.py"


@pytest.fixture
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("occlusion_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_trackers_in_one_run(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Without peers: the reference tracker with its own memory and a longer one, on the same sequence, which stays.
    monkeypatch.setitem(sys.modules, "trackers", None)
    options = ["--seeds", "1", "--frames", "40", "--hidden-seconds", "3"]
    files = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "f.json")]
    monkeypatch.setattr(sys, "argv", ["occlusion.py", *options, *files])
    benchmark.main()
    found = json.loads((tmp_path / "f.json").read_text())["streams"]
    assert list(found) == ["reference", "reference, 3 s"]
    assert found["reference"]["episodes"] == found["reference, 3 s"]["episodes"]
    said = capsys.readouterr().out
    assert "no peers" in said and "streams: 1 sequences long_occlusion, split test" in said
    stays = tmp_path / "out" / "results" / "streams" / "reference, 3 s" / "long_occlusion-test-000000.txt"
    assert stays.is_file()


def test_peers_get_the_same_boxes(benchmark: ModuleType, tmp_path: Path) -> None:
    # The first stream of the split has scores of about 80; as surenesses they lie in [0, 1], in the same order.
    benchmark.write_mot(benchmark.simulate("long_occlusion", 0, "test", 30), tmp_path)
    sequence = find_sequences(tmp_path)[0]
    raw, sure = list(benchmark.stream(sequence, True)), list(benchmark.stream(sequence, False))
    assert len(raw) == len(sure) == 30 and max(scores.max(initial=0) for _, scores in raw) > 1
    for (boxes, scores), (same, surenesses) in zip(raw, sure, strict=True):
        assert np.array_equal(boxes, same) and ((surenesses >= 0) & (surenesses <= 1)).all()
        assert (np.diff(surenesses[np.argsort(scores)]) >= 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "expected at least one stream"),
        (["--plot", "p.gif"], "p.gif: expected a file ending in"),
        (["--weights", "none.safetensors"], "--weights none.safetensors: no such file"),
    ],
)
def test_one_sentence(
    benchmark: ModuleType,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "argv", ["occlusion.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        benchmark.main()
    assert stopped.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]
