"""recipe.yaml of a release: all fields, with the catalogs' pinned versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from commoncanvas.config import load_recipe
from commoncanvas.core.console import say
from commoncanvas.core.errors import RecipeError
from commoncanvas.core.files import replace_text

RECIPE = "recipe.yaml"
_HEAD = """# The whole recipe of {name}. It needs its catalogs and models beside it, or their places, such as
#   commoncanvas train recipe.yaml --data.catalog cc.lance{parts}
"""


def write_recipe(record: dict[str, Any], out: Path) -> None:
    """Write recipe.yaml from a record without places of this machine."""
    recipe: dict[str, Any] = record["recipe"]
    catalogs = {
        name: each | {"version": record["catalogs"][name].get("tag") or record["catalogs"][name]["version"]}
        for name, each in recipe["data"]["catalogs"].items()
        if name in record["catalogs"]
    }
    pinned = recipe | {"data": recipe["data"] | {"catalogs": catalogs}}
    # The VAE of an autoencoder's recipe is the network's settings.
    parts = [f" --{part} PLACE" for part in ("vae", "init") if isinstance(recipe.get(part), str)]
    text = yaml.safe_dump(pinned, sort_keys=False, allow_unicode=True, width=100)
    replace_text(out / RECIPE, _HEAD.format(name=record["name"], parts="".join(parts)) + text)
    try:
        load_recipe(str(out / RECIPE))
    except RecipeError as error:
        say(f"this version of CommonCanvas can't train {RECIPE} as it is: {error}")
