"""`release model`: the folder of a published model, complete or absent.

It is written to OUT.partial in steps. Each step that is done is noted, so that a run that was stopped goes on there.
SHA256SUMS is last; then the folder gets its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commoncanvas.catalog.export_folder import PARTIAL
from commoncanvas.core.console import say
from commoncanvas.core.errors import CatalogError, ModelError
from commoncanvas.core.files import only_one, replace_json, replace_text, sync
from commoncanvas.core.text import counted
from commoncanvas.core.version import __version__
from commoncanvas.models.hub import owned
from commoncanvas.provenance.digests import digests
from commoncanvas.provenance.hub import Published
from commoncanvas.provenance.model_card import EVALUATION
from commoncanvas.provenance.record_file import RECORD, read_provenance
from commoncanvas.release.about import About
from commoncanvas.release.about_file import load_about
from commoncanvas.release.check import PARTS, check_model
from commoncanvas.release.model import log
from commoncanvas.release.model.checkpoints import chosen_steps, write_checkpoints
from commoncanvas.release.model.credits import write_credits
from commoncanvas.release.model.documents import write_documents
from commoncanvas.release.model.parts import check_answers, with_answers
from commoncanvas.release.model.recipe import write_recipe
from commoncanvas.release.model.result import ReleasedModel, released
from commoncanvas.release.model.weights import copy_model, read_json
from commoncanvas.release.model_folder import MARK, ModelFolder
from commoncanvas.release.sums import write_sums

STATE = ".release"
"""Folder for the lock and the steps that are done, until the release is complete."""
DONE = "done.json"
NEEDS = ("created", "creators", "result_license_note", "training", "figures")
"""Fields of the record that the documents need, besides those of a `ModelFolder`."""


@dataclass(frozen=True)
class Job:
    """One release: the trained model, the folder that is being written, and the options."""

    model: ModelFolder
    out: Path
    published: Published
    about: About
    checkpoints: str

    @property
    def written(self) -> ModelFolder:
        """The model in the folder that is being written. Its catalogs are where the trained model found them."""
        moved = [f"{name}={each.uri}" for name, each in _reachable(self.model).items()]
        return ModelFolder(self.out, moved)


def release_model(
    model: str | Path,
    out: str | Path,
    *,
    checkpoints: str = "none",
    name: str | None = None,
    data: str | None = None,
    about: str | Path | None = None,
    catalog: str | Sequence[str] = (),
) -> ReleasedModel:
    """Write the model folder `model`, which `train` wrote, as the folder `out` for other people: weights, model card,
    licence, credits with a page that searches them, provenance, recipe, training log, and the sums of all files. It
    names no place of this machine.

    `checkpoints`: `all` intermediate checkpoints, so many of the newest, or `none`. `name` and `data`: ids that the
    model and the data that it learned from have, or will have, on the hub. `about`: a YAML file with what only a person
    can say of the release (`commoncanvas release about` writes an empty one). `catalog`: new places of its catalogs, as
    for `evaluate`. A release that was stopped goes on; one that is finished is returned as it is.
    Raises ModelError, also if `check_model` finds a problem in the model; ReleaseError for the file `about`.
    """
    moved = [catalog] if isinstance(catalog, str) else list(catalog)
    given = load_about(about)
    published = Published(
        _hub_id(name or given.hub_id, "name"),
        _hub_id(data, "data"),
        *(given.provider, given.contact, given.intended_use, given.out_of_scope, given.limits),
    )
    answers = given.model_copy(
        update={"published": given.published or published.repo, "data": given.data or published.data}
    )
    chosen_steps(checkpoints, (), 0)  # a wrong choice fails before hours of copying
    source = ModelFolder(Path(model), moved)
    check_answers(source.record, given)
    folder = Path(out).resolve()
    partial = folder.with_name(folder.name + PARTIAL)
    mark = _mark(source, published, given, checkpoints)
    _check_places(source.path, folder, partial)
    if (folder / MARK).is_file():
        _same(folder, mark, str(out))
    _check(source)
    if (folder / MARK).is_file():
        shutil.rmtree(folder / STATE, ignore_errors=True)
        say(f"{out} is finished")
        return released(folder, read_json(folder / RECORD), answers, str(out))
    with only_one(partial / STATE):
        if (partial / MARK).is_file() and _mark_of(partial) != mark:
            say(f"{partial} held a release of another model, or with other options; it is written again")
            _empty(partial)
        _write(Job(source, partial, published, answers, checkpoints), mark)
        sync(partial)
        partial.rename(folder)
    sync(folder.parent, deep=False)
    shutil.rmtree(folder / STATE)
    return released(folder, read_json(folder / RECORD), answers, str(out))


def _empty(folder: Path) -> None:
    """Delete what was written, but keep the lock."""
    for path in folder.iterdir():
        if path.name != STATE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / STATE / DONE).unlink(missing_ok=True)


def _write(job: Job, mark: dict[str, Any]) -> None:
    """Do the steps that aren't done yet, in order."""
    replace_json(job.out / MARK, mark)
    state = job.out / STATE / DONE
    done = read_json(state) if state.is_file() else []
    for name, step in STEPS.items():
        if name not in done:
            step(job)
            done.append(name)
            replace_text(state, json.dumps(done))


def _check(model: ModelFolder) -> None:
    """A model with problems is not published, also if its release was begun before. Raises ModelError.

    What isn't known of its parts is no obstacle: the answers of the provider may have it, and the release says it.
    """
    read_provenance(model.path, NEEDS)
    say(f"checking {model.path}, as release check does")
    problems = [each for each in check_model(model.path, model.moved).problems if each.check != PARTS]
    if problems:
        first = problems[0]
        raise ModelError(
            f"{model.path} can't be released: {counted(len(problems), 'checks')} found a problem; "
            f"{first.check}: {first.details[0]}; commoncanvas release check shows all"
        )


def _copy(job: Job) -> None:
    copy_model(job.model.path, job.out)
    record = job.written.record
    different = [name for name, sha256 in digests(job.out).items() if record["weights"].get(name) != sha256]
    if different:
        raise ModelError(
            f"{different[0]} was changed while it was copied; remove {job.out} and release again"
        )


def _checkpoints(job: Job) -> None:
    names = write_checkpoints(job.model.path, job.model.record, job.checkpoints, job.out)
    if names:
        found = digests(job.out)
        replace_json(
            job.out / RECORD, job.written.record | {"checkpoints": {name: found[name] for name in names}}
        )


def _credits(job: Job) -> None:
    write_credits(job.out, job.model.record["name"], job.published.reach)


def _documents(job: Job) -> None:
    write_documents(job.written, job.out, job.published, job.about)


STEPS: dict[str, Callable[[Job], None]] = {
    "copy": _copy,
    "parts": lambda job: with_answers(job.written.record, job.about, job.out),
    "checkpoints": _checkpoints,
    "log": lambda job: log.write_log(job.model.path, job.out),
    "recipe": lambda job: write_recipe(job.written.record, job.out),
    "credits": _credits,
    "documents": _documents,
    "sums": lambda job: write_sums(job.out, without=[STATE]),
}


def _reachable(model: ModelFolder) -> dict[str, Any]:
    """The catalogs of a model; none if one of them can't be opened."""
    try:
        return model.catalogs
    except CatalogError:
        return {}


def _mark(model: ModelFolder, published: Published, about: About, checkpoints: str) -> dict[str, Any]:
    """What a release is made from. Two releases with the same mark are the same, but for the program's version."""
    inputs = [model.path / RECORD, model.path / EVALUATION, log.run_of(model.path) / log.LOG]
    digest = hashlib.sha256()
    for path in inputs:
        digest.update(path.read_bytes() if path.is_file() else b"")
    return {
        "format": 1,
        "model": model.record["name"],
        "made_from": digest.hexdigest(),
        "name": published.repo,
        "data": published.data,
        "about": hashlib.sha256(about.model_dump_json(exclude={"dataset"}).encode()).hexdigest(),
        "checkpoints": checkpoints,
        "program": f"CommonCanvas {__version__}",
    }


def _mark_of(folder: Path) -> dict[str, Any]:
    """What a release says that it was made from; {} if that can't be read."""
    try:
        found = read_json(folder / MARK)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _same(folder: Path, mark: dict[str, Any], shown: str) -> None:
    """Raises ModelError if `folder` has another release than that of `mark`."""
    before = _mark_of(folder)
    words = {"made_from": "the model, its evaluation or its log"}
    different = [
        words.get(name, name) for name in mark if name != "program" and before.get(name) != mark[name]
    ]
    if different:
        raise ModelError(
            f"{shown} holds another release (different: {', '.join(different)}); remove it, or choose another --out"
        )


def _check_places(model: Path, folder: Path, partial: Path) -> None:
    """Raises ModelError if the release can't be in `folder`, or if something else is there."""
    for other, what in (
        (Path.cwd(), "the current folder"),
        (Path.home(), "your home folder"),
        (model, "the model"),
    ):
        if other.resolve().is_relative_to(folder):
            raise ModelError(f"{folder} is {what} or contains it; choose a separate folder for --out")
    if folder.is_relative_to(model.resolve()):
        raise ModelError(f"{folder} is inside of the model; choose a separate folder for --out")
    if os.path.ismount(folder):  # Path.is_mount fails on Windows
        raise ModelError(f"{folder} is a mount point, which can't be renamed; choose a folder below it")
    for place, known in ((folder, MARK), (partial, STATE)):
        if place.exists() and not (place / known).exists() and (not place.is_dir() or any(place.iterdir())):
            raise ModelError(f"{place} already exists and is no release; choose another --out")


def _hub_id(text: str | None, option: str) -> str | None:
    """Raises ModelError unless `text` is an id of the hub with its owner."""
    if text is not None and not owned(text):
        raise ModelError(f"--{option} {text!r} is no id of the hub; write owner/name")
    return text
