"""What the pages of documentation take from elsewhere is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def included() -> ModuleType:
    spec = importlib.util.spec_from_file_location("included", DOCS / "included.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_section_ends_at_the_next_and_links_to_files_become_text(included: ModuleType) -> None:
    one = "see [rules](a/b.py), [site](https://c.org), ![picture](docs/images/d.jpg)"
    text = f"# Title\n## One\n{one}\n### In it\n## Two\n"
    found = included.section(text, "One")
    assert found == "## One\n\nsee rules, [site](https://c.org), ![picture](images/d.jpg)\n### In it\n"
    with pytest.raises(KeyError):
        included.section(text, "Three")


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_every_page_is_whole(included: ModuleType, page: Path) -> None:
    # Nothing is left to be put in, and every picture is there.
    made = included.on_page_markdown(page.read_text(encoding="utf-8"))
    assert "{{" not in made
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", made):
        assert (page.parent / picture).is_file(), picture
