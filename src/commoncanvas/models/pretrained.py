"""The trained model that comes with the package: `xs`, small drawings in OpenMoji's style."""

from __future__ import annotations

from pathlib import Path

from commoncanvas.core.errors import ModelError

FOLDER = Path(__file__).parents[1] / "pretrained"


def model_folder(model: str | Path) -> str:
    """The folder of the packaged model that `model` names; any other model as it is, a folder of that name too.

    Raises ModelError if this installation lacks the packaged model.
    """
    if str(model) != "xs" or Path(model).exists():
        return str(model)
    folder = FOLDER / "xs"
    if not (folder / "model_index.json").is_file():
        raise ModelError(f"this installation lacks the packaged model {model}; `make xs` trains it")
    return str(folder)


def is_packaged(folder: str | Path) -> bool:
    """Whether a model folder is part of this installation, where nothing may be written."""
    return Path(folder).resolve().is_relative_to(FOLDER.resolve())
