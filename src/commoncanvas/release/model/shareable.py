"""Records without the machine's own places: a path or a private address becomes its last name. Pure but for one look
whether a model's name is a folder here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from commoncanvas.core.redact import redacted

PLACES = frozenset({"uri", "catalog", "checkpoints", "out"})
"""Fields that say where something lies, for those who made the model."""
MODELS = frozenset({"model", "vae", "text_encoder", "init", "captioner", "_name_or_path", "name_or_path"})
"""Fields with a folder, or an id of the hub, which stays."""
TEXTS = frozenset({"prompts", "prompt", "text", "filter"})
"""Fields with people's words, which may begin with a slash."""
_LOCAL = re.compile(r"(/[^/\s][^/]*/|~\w*/|file:|[A-Za-z]:[\\/]|\\\\|\.\.?[\\/])\S.*", re.IGNORECASE)
"""A path with a folder in it. A single `/word` may be a token of a vocabulary."""
_PUBLIC = re.compile(r"https?://", re.IGNORECASE)


def shareable(value: Any, near: Path, field: str = "") -> Any:
    """A copy of a JSON value for other people. Texts of TEXTS, and all that is no place, stay as they are.

    `near`: the model's folder. A name like a hub id's is a folder if it is one seen from here, or from above `near`.
    """
    if isinstance(value, dict):
        return {name: shareable(inner, near, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [shareable(inner, near, field) for inner in value]
    if not isinstance(value, str) or field in TEXTS:
        return value
    if _PUBLIC.match(value):
        return redacted(value)
    is_place = field in PLACES or _LOCAL.fullmatch(value) or (field in MODELS and _is_folder(value, near))
    return last_name(value) if is_place else value


def last_name(place: str) -> str:
    """`s3://lab/cc.lance/` -> `cc.lance`."""
    return re.split(r"[\\/]", redacted(place).rstrip("\\/"))[-1].removeprefix("file:")


def _is_folder(name: str, near: Path) -> bool:
    try:
        return bool(name) and any((place / name).is_dir() for place in (Path(), *near.resolve().parents))
    except OSError:
        return False
