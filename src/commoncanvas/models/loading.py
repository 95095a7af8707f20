"""What a model folder or a hub's repository says of itself, read the same way whichever it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line
from commoncanvas.models.hub import find

WHOLE = ("model_index.json", "provenance.json")
"""What tells a whole pipeline's folder."""
PACKAGED = {"minilm": "apache-2.0", "efficientnet-lite0": "apache-2.0"}
"""Models that come as packages, with their licences: see NOTICE."""
PARTS = ("vae", "text_encoder", "text_encoder_2", "text_encoder_3")


def read_json(
    model: str, name: str, subfolder: str = "", revision: str | None = None, what: str = "model"
) -> dict[str, Any]:
    """The JSON file `name` of a folder or hub id; {} if it has none. Raises ModelError if it can't be read."""
    path = find(model, name, subfolder, revision, what)
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{what} {model}: {name} can't be read: {one_line(error)}") from error
    return found if isinstance(found, dict) else {}


def components(model: str, what: str = "model") -> dict[str, str]:
    """The parts of a diffusers pipeline, each with its class; {} if `model` isn't one."""
    index = read_json(model, "model_index.json", what=what)
    if index:
        return {
            name: part[1]
            for name, part in index.items()
            if isinstance(part, list) and len(part) == 2 and isinstance(part[1], str)
        }
    parts: dict[str, str] = {}
    for name in PARTS:  # a folder that has some of a pipeline's
        if (Path(model) / name).is_dir():
            config = read_json(model, "config.json", name, what=what)
            parts[name] = config.get("_class_name") or next(iter(config.get("architectures") or ()), "")
    return parts


def beside(model: str, name: str) -> Path | None:
    """The file `name` of a model: in its folder, in that of the pipeline which it is a part of, or in a hub id's root.

    Raises ModelError for a hub id that can't be asked.
    """
    if not Path(model).exists():
        return None if model in PACKAGED else find(model, name)
    places = [Path(model).resolve()]
    if any((places[0].parent / file).is_file() for file in WHOLE):
        places.append(places[0].parent)
    return next((place / name for place in places if (place / name).is_file()), None)
