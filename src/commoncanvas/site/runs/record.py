"""What a run is: its record, which `train` wrote, as text, and how it differs from others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from commoncanvas.core.redact import redacted

RECORD = "run.json"
MOST_BYTES = 4_000_000
DEEPEST = 50
"""Levels of a recipe; a deeper one would be more than Python's recursion holds."""
MISSING = "—"


def recipe_of(folder: Path) -> dict[str, Any]:
    """The recipe of a run; empty if its record is missing or broken."""
    try:
        with (folder / RECORD).open("rb") as file:
            record = json.loads(file.read(MOST_BYTES))
        recipe = dict(record["recipe"])
        return recipe if _within(recipe, DEEPEST) else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _within(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_within(each, levels - 1) for each in inner)


def steps_of(recipe: Mapping[str, Any]) -> int | None:
    """How many steps the training has."""
    train = recipe.get("train")
    steps = train.get("steps") if isinstance(train, dict) else None
    return steps if type(steps) is int and steps > 0 else None


def yaml_of(recipe: Mapping[str, Any]) -> str:
    """A recipe as a file for `train`, without passwords in URLs."""
    return redacted(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100)) if recipe else ""


def differences(recipes: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The fields in which recipes differ: dotted name, and the value in each."""
    flat = [_flat(recipe) for recipe in recipes]
    names = dict.fromkeys(name for each in flat for name in each)
    rows = [(name, [each.get(name, MISSING) for each in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(value, dict):
        return {prefix: redacted(json.dumps(value, ensure_ascii=False))}
    found: dict[str, str] = {}
    for name, each in value.items():
        found |= _flat(each, f"{prefix}.{name}" if prefix else str(name))
    return found
