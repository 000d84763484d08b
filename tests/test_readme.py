"""The commands of the README run as they stand there, one after the other in one folder.

A ```bash block is for every reader and is run; what needs a reader's own files stands in a ```console block.  Commands
that install or test the package are left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
LEFT_OUT = re.compile(r"(pip3?|uv|python -m pip|pre-commit|git|pytest|cd|source|\.)(\s|$)")


def commands(text: str) -> list[str]:
    """The commands of the ```bash blocks of a Markdown text, without those that install or test."""
    kept = []
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            parts = [part.strip() for part in re.sub(r"(^|\s)#.*", "", line).split("&&")]
            kept.append(" && ".join(part for part in parts if part and not LEFT_OUT.match(part)))
    return [command for command in kept if command]


def test_commands_are_found() -> None:
    # Comments, installation and tests go; continued lines are joined; other blocks do not count.
    text = (
        "```bash\npip install . && scenegraph-track demo  # a minute\n\n# more\npytest\ntrack a \\\n  --out b\n```\n"
        "```console\ntrack street.mp4\n```\n```python\nprint()\n```\n"
    )
    assert commands(text) == ["scenegraph-track demo", "track a    --out b"]


def test_commands_run(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in commands(README.read_text(encoding="utf-8")):
        done = subprocess.run(
            ["bash", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_python_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
