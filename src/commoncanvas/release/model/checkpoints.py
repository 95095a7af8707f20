"""Intermediate checkpoints of a training as safetensors, which diffusers loads like the model itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import progress
from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line
from commoncanvas.provenance.digests import WEIGHTS
from commoncanvas.release.model.log import run_of

if TYPE_CHECKING:
    from commoncanvas.table.storage import Storage

FOLDER = "checkpoints"
Networks = Mapping[Path, Mapping[str, list[int]]]
"""Files of weights, each with the shapes of its tensors by their names."""


def chosen_steps(choice: str, steps: Iterable[int], last: int) -> list[int]:
    """The steps that `all`, `none` or a number of the newest stands for, without `last`, the model itself.

    Raises ModelError.
    """
    before = [step for step in sorted(steps) if step != last]
    if choice in ("all", "none"):
        return before if choice == "all" else []
    if not choice.isdecimal() or int(choice) < 1:
        raise ModelError(f"--checkpoints {choice}: give all, none, or how many of the newest")
    return before[-int(choice) :]


def write_checkpoints(model: Path, record: Mapping[str, Any], choice: str, out: Path) -> list[str]:
    """Write the chosen checkpoints of the run that made `model` into `out`/checkpoints/step-N, each as a part of the
    model: the network with its settings. They are averages of the weights if the training keeps averages.

    `record`: the model's, with the places of this machine. Returns the names of the files of weights. Raises ModelError
    if a checkpoint can't be read or has another network.
    """
    if choice == "none":
        return []
    from commoncanvas.table.storage import Storage
    from commoncanvas.training.checkpoints.checkpoint import folder_of, saved_steps

    place = record["recipe"]["train"].get("checkpoints")
    storage = Storage(place or str(run_of(model) / FOLDER))
    steps = chosen_steps(choice, saved_steps(storage), record["training"]["steps"])
    if not steps:
        return []
    networks = _networks(model)
    written = []
    with progress("checkpoints", len(steps), "checkpoints") as bar:
        for step in steps:
            name = folder_of(step)
            written.append(_write(storage, name, networks, model, out / FOLDER / name))
            bar.advance()
    return [path.relative_to(out).as_posix() for path in written]


def _networks(model: Path) -> Networks:
    """Each file of weights in the model, by its path there, with the shape of each tensor."""
    from safetensors import safe_open

    found = {}
    for path in sorted(model.rglob(f"*{WEIGHTS}")):
        with safe_open(path, framework="np") as file:
            found[path.relative_to(model)] = {
                name: file.get_slice(name).get_shape()
                for name in file.keys()  # noqa: SIM118
            }
    return found


def _write(
    storage: Storage, step: str, networks: Mapping[Path, Mapping[str, list[int]]], model: Path, out: Path
) -> Path:
    """Write the network of one checkpoint; returns the file."""
    from safetensors.torch import save_file

    from commoncanvas.training.checkpoints.store import Reader, read_tensors

    try:
        reader = Reader(storage, step)
        sizes = {name: list(each["size"]) for name, each in reader.index["tensors"].items()}
        for path, shapes in networks.items():
            names = _names(shapes, sizes)
            if names:
                target = out / path
                target.parent.mkdir(parents=True, exist_ok=True)
                for settings in (model / path).parent.glob("*config.json"):
                    shutil.copyfile(settings, target.parent / settings.name)
                tensors = read_tensors(reader, list(names.values()))
                partial = target.with_name(f".{target.name}.part")
                save_file({own: tensors[saved] for own, saved in names.items()}, partial, {"format": "pt"})
                partial.replace(target)
                return target
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ModelError(f"checkpoint {storage.uri}/{step} can't be read: {one_line(error)}") from error
    raise ModelError(
        f"checkpoint {storage.uri}/{step} has another network than {model}; give --checkpoints none"
    )


def _names(shapes: Mapping[str, list[int]], saved: Mapping[str, list[int]]) -> dict[str, str]:
    """The name in a checkpoint of each tensor of a network; {} if the checkpoint hasn't this network.

    Averages have the floating-point tensors only. A network that is aligned with features is inside another.
    """
    for prefix in ("", "network."):
        names = {
            name: next(
                (each for each in (f"average.{prefix}{name}", f"model.{prefix}{name}") if each in saved), ""
            )
            for name in shapes
        }
        if all(each and saved[each] == shapes[name] for name, each in names.items()):
            return names
    return {}
