"""Puts into pages what is written elsewhere, so that it is in one place.

A line ``{{ README: Heading }}`` becomes that section of the README, ``{{ MODEL CARD }}`` what the weights that ship say
of themselves.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[1] / "README.md"
_WANTED = re.compile(r"^\{\{ README: (.+?) \}\}$", re.MULTILINE)
_CARD = "{{ MODEL CARD }}"
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?://)[^)]*\)")


def section(text: str, heading: str) -> str:
    """A section of the second level with its heading; its pictures as a page of the first level names them.

    Links to files of the repository become plain text.

    Raises:
        KeyError: There is no such section.
    """
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    body = found[heading].replace("](docs/images/", "](images/")
    return f"## {heading}\n{_LINK.sub(_plain, body)}"


def _plain(link: re.Match[str]) -> str:
    return link[1]


def card() -> str:
    """The model card of the weights that ship, from its first heading of the second level on."""
    from scenegraph_track.model_card import model_card, shipped_files

    text = model_card(shipped_files())
    return text[text.index("\n## ") + 1 :].replace("<details>", "<details markdown>")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for every page."""
    text = README.read_text(encoding="utf-8")
    markdown = _WANTED.sub(lambda wanted: section(text, wanted[1]), markdown)
    return markdown.replace(_CARD, card()) if _CARD in markdown else markdown
