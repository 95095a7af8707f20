"""What all templates have in common."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import commoncanvas

TEMPLATES = sorted(Path(commoncanvas.__file__).parent.glob("**/templates/*.html.j2"))
SCROLLS = re.compile(r'<div class="scroll[^>]*>')


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_what_scrolls_can_be_scrolled_with_the_keyboard_and_has_a_name(template: Path) -> None:
    for box in SCROLLS.findall(template.read_text(encoding="utf-8")):
        assert 'tabindex="0"' in box and 'role="region"' in box and "aria-label=" in box
