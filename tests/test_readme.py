"""The commands of the README and of the documentation run as they stand there, those of a page in one folder.

A ```bash block is for every reader and is run; what needs a reader's own files stands in a ```console block.  Commands
that install or test the package are left out.  All run in this process: starting Python anew for each takes longer than
what they do.
"""

from __future__ import annotations

import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from scenegraph_track.cli import demo, main
from scenegraph_track.cli.app import run

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
LEFT_OUT = re.compile(r"(pip3?|uv|python -m pip|pre-commit|git|pytest|cd|source|\.)(\s|$)")


def commands(text: str) -> list[str]:
    """The commands of the ```bash blocks of a Markdown text, without those that install or test."""
    kept = []
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            parts = [part.strip() for part in re.sub(r"(^|\s)#.*", "", line).split("&&")]
            kept.append(" && ".join(part for part in parts if part and not LEFT_OUT.match(part)))
    return [command for command in kept if command]


def python_blocks(text: str) -> list[str]:
    """The ```python blocks of a Markdown text."""
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_commands_are_found() -> None:
    # Comments, installation and tests go; continued lines are joined; other blocks do not count.
    text = (
        "```bash\npip install . && scenegraph-track demo  # a minute\n\n# more\npytest\ntrack a \\\n  --out b\n```\n"
        "```console\ntrack street.mp4\n```\n```python\nprint()\n```\n"
    )
    assert commands(text) == ["scenegraph-track demo", "track a    --out b"]


def test_the_program_is_installed() -> None:
    (program,) = entry_points(group="console_scripts", name="scenegraph-track")
    assert program.load() is main


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if commands(text)])
def test_commands_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The demo is a short one of small frames.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "FRAMES", 16)
    monkeypatch.setattr(demo, "SIZE", (256, 144))
    found = [part for command in commands(PAGES[page]) for part in command.split(" && ")]
    for command in found:
        program, *arguments = shlex.split(command)
        assert program == "scenegraph-track", f"{command}: expected a command of this program"
        assert run(arguments) == 0, command


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if python_blocks(text)])
def test_python_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in python_blocks(PAGES[page]):
        exec(compile(block, page, "exec"), {"__name__": "readme"})


def test_readme_has_both() -> None:
    assert commands(PAGES["README.md"]) and python_blocks(PAGES["README.md"])
