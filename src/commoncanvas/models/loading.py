"""Read the JSON files of a model folder or a hub repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line
from commoncanvas.models.hub import find
from commoncanvas.models.packaged import PACKAGED

WHOLE = ("model_index.json", "provenance.json")
"""Files that mark the folder of a complete pipeline."""
PARTS = ("vae", "text_encoder", "text_encoder_2", "text_encoder_3")


def read_json(
    model: str, name: str, subfolder: str = "", revision: str | None = None, what: str = "model"
) -> dict[str, Any]:
    """The JSON file `name` of a folder or hub id; {} if it is missing. Raises ModelError if it can't be read."""
    path = find(model, name, subfolder, revision, what)
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{what} {model}: {name} can't be read: {one_line(error)}") from error
    return found if isinstance(found, dict) else {}


def components(model: str, what: str = "model") -> dict[str, str]:
    """Part -> class of a diffusers pipeline; {} if `model` isn't a pipeline."""
    index = read_json(model, "model_index.json", what=what)
    if index:
        return {
            name: part[1]
            for name, part in index.items()
            if isinstance(part, list) and len(part) == 2 and isinstance(part[1], str)
        }
    parts: dict[str, str] = {}
    for name in PARTS:  # a folder with only some parts of a pipeline
        if (Path(model) / name).is_dir():
            config = read_json(model, "config.json", name, what=what)
            parts[name] = config.get("_class_name") or next(iter(config.get("architectures") or ()), "")
    return parts


def beside(model: str, name: str) -> Path | None:
    """The file `name` of a model: in its folder, in the folder of its pipeline, or in the root of a hub id.

    Raises ModelError if the hub can't be used.
    """
    if not Path(model).exists():
        return None if model in PACKAGED else find(model, name)
    places = [Path(model).resolve()]
    if any((places[0].parent / file).is_file() for file in WHOLE):
        places.append(places[0].parent)
    return next((place / name for place in places if (place / name).is_file()), None)
