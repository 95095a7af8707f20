"""The samples of a run as its page shows them: all images of one step, and one of them at all steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from commoncanvas.site.runs.samples import Sheet

MOST_TIMES = 24
"""Images of one prompt at different steps."""


def wall(
    run: str, sheets: Sequence[Sheet], step: str, prompt: str, compared: Sequence[str]
) -> dict[str, Any] | None:
    """None without samples. `step`: as asked for; anything else is the newest. `prompt`: the number of an image.
    `compared`: runs that the page's links keep.
    """
    if not sheets:
        return None
    index = next((i for i, sheet in enumerate(sheets) if str(sheet.step) == step), len(sheets) - 1)
    chosen, newest = sheets[index], index == len(sheets) - 1
    found = chosen.cells()
    cells = found or []
    number = int(prompt) if prompt.isascii() and prompt.isdecimal() and len(prompt) < 6 else None
    number = number if number is not None and number < len(cells) else None

    def address(**asked: int | None) -> str:
        query = {"with": compared, **{name: value for name, value in asked.items() if value is not None}}
        return f"?{urlencode(query, doseq=True)}#samples"

    every = -(-len(sheets) // MOST_TIMES)
    times = list(reversed(sheets[::-1][::every])) if number is not None else []
    return {
        "step": chosen.step,
        "steps": [sheet.step for sheet in sheets],
        "index": index,
        "sheet": None if found is None else _picture(run, chosen),
        "cells": [
            {
                "label": cell.label,
                "picture": _picture(run, chosen, place),
                "times": address(step=None if newest else chosen.step, prompt=place),
            }
            for place, cell in enumerate(cells)
        ],
        "before": address(step=sheets[index - 1].step, prompt=number) if index else None,
        "after": None if newest else address(step=sheets[index + 1].step, prompt=number),
        "prompt": None if number is None else cells[number].label,
        "number": number,
        "times": [(sheet.step, _picture(run, sheet, number)) for sheet in times],
        "wall": address(step=None if newest else chosen.step),
    }


def _picture(run: str, sheet: Sheet, cell: int | None = None) -> str:
    query = {"changed": sheet.changed} | ({} if cell is None else {"cell": cell})
    return f"/api/runs/{quote(run, safe='')}/samples/{sheet.step}?{urlencode(query)}"
