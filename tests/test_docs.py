"""What README and docs/ say exists: their links lead somewhere, and their commands are commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from commoncanvas.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.S | re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.M)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    titles = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


def commands(page: Path) -> list[str]:
    """The lines of its blocks that call `commoncanvas`, a backslash joining two."""
    blocks = "\n".join(BLOCK.findall(page.read_text(encoding="utf-8"))).replace("\\\n", " ")
    return [line for line in blocks.splitlines() if line.startswith("commoncanvas ")]


@pytest.mark.parametrize(
    ("page", "line"), [(name_of(page), line) for page in PAGES for line in commands(page)]
)
def test_commands_are_commands_with_these_options(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
    assert callable(command) and command is not app.help_print, bound


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
