"""The command line as a whole: help, exit codes, errors as sentences, a quick start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scenegraph_track.cli.app import run
from scenegraph_track.version import __version__

OPTIONS = {
    "": "--version --help",
    "track": "--config --set --init --text --frame --detections --out --save-video --save-graph --overwrite --offline "
    "--horizon --no-images --frame-rate --device --workers --print-config --quiet -q --help",
    "points": "--point --grid --out --save-video --overwrite --weights --stride --quiet -q --help",
    "eval": "--help",
    "eval mot": "--results --benchmark --no-preproc --workers --json --csv --overwrite --help",
    "eval objects": "--preset --split --sequences --frames --size --flow --depth --config --weights --workers --json "
    "--csv --picture --overwrite --help",
    "eval occlusion": "--results --preset --split --sequences --size --workers --json --plot --overwrite --help",
    "eval points": "--preset --split --sequences --frames --size --weights --workers --json --csv --overwrite --help",
    "eval single": "--preset --sequences --split --frames --size --results --weights --text --language --protocol "
    "--pixels --workers --json --csv --plot --overwrite --help",
    "eval language": "--preset --sequences --split --frames --size --weights --sentences --workers --json --csv "
    "--overwrite --help",
    "demo": "--out --seed --help",
    "synth": "--preset --split --seed --sequences --frames --size --out --sheet --overwrite --help",
    "train": "--config --set --out --resume --dry-run --devices --print-config --help",
    "info": "--json --card --help",
}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERMINAL_WIDTH", "160")


@pytest.mark.parametrize("command", OPTIONS)
def test_help_is_complete(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    # Every option of every command, and each with a text.
    assert run([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    rows = [line for line in text.splitlines() if re.match(r"│ [* ]*-", line)]
    shown = {word for line in rows for word in re.findall(r"(?<= )--?[a-z][a-z-]*(?=  )", line)}
    assert shown == {*OPTIONS[command].split(), "-h"}
    assert all(re.search(r"  [A-Z][^│]+[.,;a-z]", line) for line in rows)


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    # Also without any argument.
    assert run([]) == 0
    text = capsys.readouterr().out
    assert re.findall(r"│ (\w+)  ", text) == ["track", "points", "demo", "synth", "train", "info", "eval"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"scenegraph-track {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        # Wrong calls: 2.
        ("trak", 2, "No such command 'trak'"),
        ("track --ofline x", 2, "No such option: --ofline"),
        ("track", 2, "track: expected a SOURCE: a video, a folder or glob of images, a sequence or a folder of them"),
        ("track missing.mp4", 2, "missing.mp4: no such file or folder"),
        ("track . --config refrence", 2, "refrence: neither a named configuration"),
        ("track --print-config --set tracker.life.hiden_seconds=1", 2, "did you mean tracker.life.hidden_seconds?"),
        ("track --print-config --set tracker", 2, "--set tracker: expected key=value"),
        ("track . --device quantum", 2, "--device quantum: expected auto or one of cpu"),
        ("track . --workers 0", 2, "Invalid value for '--workers'"),
        ("eval missing --results .", 2, "missing: no such file or folder"),
        ("eval mot .", 2, "Missing option '--results'"),
        ("eval . --results . --benchmark MOT99", 2, "--benchmark MOT99: expected one of auto, none, MOT15"),
        ("track --print-config --set tracker.nosuch=1", 2, "--set tracker.nosuch=1: unknown setting tracker.nosuch;"),
        ("synth --preset stand", 2, "--preset stand: expected one of easy, standard"),
        ("synth --preset streams/stret", 2, "long_occlusion, static, streams/street"),
        ("synth --split tset", 2, "--split tset: expected one of train, val, test"),
        ("synth --size big", 2, "--size big: expected WIDTHxHEIGHT in pixels, as 640x360"),
        ("synth --size 5x20", 2, "--size 5x20: expected at least 16 pixels in width and in height"),
        ("synth --sheet a.gif", 2, "--sheet a.gif: expected a file ending in .png or .jpg"),
        # A file that does not hold what it should: 1.
        ("track bad", 1, "bad/seqinfo.ini: expected a section [Sequence]"),
    ],
)
def test_errors_are_sentences(
    arguments: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "seqinfo.ini").write_text("[Other]\n")
    assert run(arguments.split()) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    assert message in said.err


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEGRAPH_TRACK_DEBUG", "1")
    with pytest.raises(ValueError, match="no such file or folder"):
        run(["track", "missing.mp4"])


def test_starting_loads_nothing_heavy() -> None:
    # Help comes at once because torch, OpenCV and the like are loaded by the commands that need them. Where the hub's
    # library is loaded, it does not warn of its attempts beside our one sentence.
    code = (
        "import sys; from scenegraph_track.cli.app import run; run(['track', '--help'])\n"
        "print({'torch', 'cv2', 'av', 'scipy', 'numpy', 'networkx', 'trackeval'} & set(sys.modules))\n"
        "from huggingface_hub.utils import logging; print(logging.get_verbosity() == logging.ERROR)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_VERBOSITY"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["set()", "True"]
