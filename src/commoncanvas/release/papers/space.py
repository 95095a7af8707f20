"""space/: a small web app that draws with the model, ready for the hub's Spaces. It needs diffusers and Gradio only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from commoncanvas.catalog.export.data_card import HUB_LICENSES
from commoncanvas.core.files import replace_text
from commoncanvas.core.text import clean, markdown_text
from commoncanvas.core.text import one_line as line
from commoncanvas.provenance.markdown import templates
from commoncanvas.release.about import About
from commoncanvas.release.model_folder import ModelFolder

FOLDER = "space"
GRADIO = "6.31.0"
"""The tested version."""
PYTHON = "3.12"
PROMPT = "a deer"
MOST_EXAMPLES = 6
LIBRARIES = ("torch", "diffusers", "transformers", "safetensors")
ID = "org/name"
"""Placeholder for the model's id on the hub."""


def write(model: ModelFolder, out: Path, about: About) -> None:
    """Write app.py, requirements.txt and README.md into `out`/space; nothing for a model that draws no images."""
    if model.record["task"] != "diffusion":
        return
    record, folder = model.record, out / FOLDER
    folder.mkdir(exist_ok=True)
    made = templates("commoncanvas.release.papers")
    made.filters |= {"plain": markdown_text, "python": _python, "line": line}
    recipe = record["recipe"]
    sample = recipe["sample"]
    fields = {
        "name": clean(about.model or record["name"]),
        "license": record["result_license"] or "no common licence",
        "hub_id": about.hub_id or ID,
        "published": about.hub_id is not None,
        "page": about.place("published"),
        "contact": about.contact,
        "images": record["rows"]["train"],
        "side": recipe["size"],
        "steps": sample["steps"],
        "guidance_scale": sample["guidance_scale"],
        "more": _more(recipe),
        "examples": [clean(prompt) for prompt in sample["prompts"][:MOST_EXAMPLES]] or [PROMPT],
    }
    replace_text(folder / "app.py", made.get_template("space_app.py.j2").render(fields))
    replace_text(folder / "requirements.txt", _requirements(record.get("parts", {})))
    page = made.get_template("space.md.j2").render(
        fields, header=yaml.safe_dump(_header(model, about), sort_keys=False, allow_unicode=True).rstrip()
    )
    replace_text(folder / "README.md", page)


def _python(value: object) -> str:
    """A value as Python source; ASCII only, so that no text changes the direction of the code."""
    return json.dumps(value) if isinstance(value, str) else ascii(value)


def _more(recipe: dict[str, Any]) -> dict[str, Any]:
    """Further arguments of the pipeline: the defaults of PixArt's are for its own sizes, lengths and captions."""
    if not recipe.get("transformer"):
        return {}
    return {
        "max_sequence_length": recipe["text_length"],
        "use_resolution_binning": False,
        "clean_caption": False,
    }


def _requirements(parts: dict[str, str]) -> str:
    """The packages of the app, in the versions of the training. Gradio comes from `sdk_version` on the hub."""
    wanted = [f"{name}=={parts[name]}" if name in parts else name for name in LIBRARIES]
    return "\n".join(["accelerate", *wanted, f"gradio=={GRADIO}"]) + "\n"


def _header(model: ModelFolder, about: About) -> dict[str, Any]:
    """Metadata of the Space (https://huggingface.co/docs/hub/spaces-config-reference)."""
    license = str(model.record["result_license"]).lower()
    return {
        "title": clean(about.model or model.record["name"]),
        "emoji": "🎨",
        "colorFrom": "green",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": GRADIO,
        "python_version": PYTHON,
        "app_file": "app.py",
        "license": license if license in HUB_LICENSES else "other",
        **({"models": [about.hub_id]} if about.hub_id else {}),
        "tags": ["text-to-image", "commoncanvas", "creative-commons"],
    }
