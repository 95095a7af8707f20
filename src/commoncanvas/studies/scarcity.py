"""How many images does training need? Train one recipe on nested fractions of its images for the same steps, and
evaluate on the same held-out prompts (arXiv 2310.16825, section 4, asks how much scarcer than LAION-2B data may be).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from commoncanvas.config import DiffusionRecipe, Recipe
from commoncanvas.core.console import say
from commoncanvas.core.errors import RecipeError, TrainingError, TrainingStopped
from commoncanvas.core.files import only_one, replace_json, replace_text
from commoncanvas.evaluation.command import evaluate
from commoncanvas.evaluation.fingerprint import of_set
from commoncanvas.evaluation.folder import described
from commoncanvas.evaluation.metrics import LEAST_SAMPLES
from commoncanvas.evaluation.prompts import choose_prompts
from commoncanvas.evaluation.validation import train
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.selection.heldout import fraction_count, fraction_mask
from commoncanvas.selection.select import Pin
from commoncanvas.studies.page import write_scarcity_page
from commoncanvas.studies.plot import scarcity_png, scarcity_svg
from commoncanvas.studies.result import Point, Scarcity
from commoncanvas.table.filters import conditions_of, tagged_filter
from commoncanvas.table.sql import all_of
from commoncanvas.training.resume import changes, fingerprint, inputs, pin, resolved
from commoncanvas.training.task import Task
from commoncanvas.training.tasks.make import make_task

RECORD = "study.json"
FIELDS = ("fingerprint", "versions", "recipe", "inputs", "sample", "prompts")
PAGE = "scarcity.html"
EVALUATION_SEED = 0
NAME = re.compile(r"fraction-([0-9]+(?:\.[0-9]+)?(?:e-[0-9]+)?)(?:-seed-([0-9]+))?")
"""The name of a training's folder: its fraction, and the seed's number after the first."""


def study_scarcity(
    recipe: Recipe, fractions: Sequence[float], *, seeds: int = 1, prompts: int = 64, out: str | None = None
) -> Scarcity:
    """Train `recipe` on each of `fractions` of its training images, `seeds` times, and evaluate every model.

    A fraction contains every smaller one of the same seed; the held-out images are the same for all. Each seed after
    the first adds one to the recipe's own and draws other images. `out` (default: the recipe's, with -scarcity) gets
    the model folders `fraction-F/`, `fraction-F-evaluation/`, and from the first point on scarcity.json, .png, .svg and
    .html. Run again, it continues where it stopped; you can add fractions and seeds.
    Raises RecipeError and TrainingError before anything is trained, TrainingStopped after SIGTERM or Ctrl-C.
    """
    recipe = _studied(recipe)
    fractions = _checked(fractions)
    if seeds < 1 or prompts < LEAST_SAMPLES:
        raise RecipeError(
            f"seeds {seeds}, prompts {prompts}: give at least 1 seed and {LEAST_SAMPLES} prompts"
        )
    folder = Path(out) if out else Path(f"{recipe.out}-scarcity")
    record = _read(folder)
    recipe = resolved(recipe, record)
    pins = {name: Pin(version) for name, version in record["versions"].items()} if record else None
    task = make_task(recipe, pins)
    _check_rows(recipe, task, fractions, seeds, prompts)
    with only_one(folder):
        versions = _begin(folder, recipe, task, prompts)
        filters = _filters(recipe, task)
        jobs = [
            Job(folder, recipe, versions, filters, fraction, seed)
            for seed in range(seeds)
            for fraction in fractions
        ]
        study = _Study(recipe, task, jobs + _others(jobs), folder)
        del task  # frees its networks; each training makes its own
        made = False
        for number, job in enumerate(jobs, start=1):
            if job.done:
                continue
            say(job.title, title=f"{number}/{len(jobs)}")
            job.run(prompts)
            study.write()
            made = True
        return study.found() if made else study.write()


@dataclass(frozen=True)
class Job:
    """One training of a study and its evaluation. `seed` counts from 0."""

    folder: Path
    recipe: DiffusionRecipe
    versions: Mapping[str, int]
    filters: Mapping[str, str | None]
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        return f"fraction-{name_of(self.fraction)}" + (f"-seed-{self.seed + 1}" if self.seed else "")

    @property
    def title(self) -> str:
        return f"fraction {name_of(self.fraction)}" + (f", seed {self.seed + 1}" if self.seed else "")

    @property
    def model(self) -> Path:
        return self.folder / self.name

    @property
    def evaluation(self) -> Path:
        return self.folder / f"{self.name}-evaluation"

    @property
    def done(self) -> bool:
        return self.model.exists() and (self.evaluation / "evaluation.json").exists()

    def its_recipe(self) -> DiffusionRecipe:
        data = self.recipe.data.pinned(self.versions, self.filters)
        update = {"fraction": self.fraction, "fraction_seed": data.fraction_seed + self.seed}
        place = self.recipe.train.checkpoints
        checkpoints = f"{place.rstrip('/')}/{self.name}" if place else None
        return self.recipe.model_copy(
            update={
                "out": str(self.model),
                "seed": self.recipe.seed + self.seed,
                "data": data.model_copy(update=update),
                "train": self.recipe.train.model_copy(update={"checkpoints": checkpoints}),
            }
        )

    def run(self, prompts: int) -> None:
        try:
            train(self.its_recipe(), resume=True)
        except TrainingStopped as stopped:
            raise TrainingStopped(
                f"stopped by {stopped.signal.name} at {self.title}, its state saved; run the same command to continue",
                stopped.signal,
            ) from stopped
        places = {name: each.catalog for name, each in self.recipe.data.catalogs.items()}
        evaluate(
            str(self.model),
            catalog=[f"{name}={uri}" for name, uri in places.items()],
            samples=prompts,
            seed=EVALUATION_SEED,
            out=str(self.evaluation),
            device=self.recipe.train.device,
        )

    def point(self) -> Point:
        record = read_provenance(self.model)
        evaluation = json.loads((self.evaluation / "evaluation.json").read_text(encoding="utf-8"))
        images = record["rows"]["train"]
        return Point(
            fraction=self.fraction,
            seed=record["seed"],
            images=images,
            creators=record["creators"],
            epochs=record["training"]["images_seen"] / images,
            model=str(self.model),
            evaluation=str(self.evaluation),
            figures=evaluation["figures"],
            fingerprint=of_set(evaluation, "heldout"),
        )


class _Study:
    """The finished points, and the files that show them."""

    def __init__(self, recipe: DiffusionRecipe, task: Task, jobs: list[Job], folder: Path) -> None:
        self.recipe = recipe
        self.jobs = sorted(jobs, key=lambda job: (job.seed, job.fraction))
        self.seeds = 1 + max(job.seed for job in jobs)
        self.folder = folder
        self.catalogs = {each.name: each.catalog for each in task.rows.selections}
        self.images = len(task.rows.ids("train"))
        self.parts = tuple(f"{part.role} {part.model}" for part in task.parts)

    def found(self) -> Scarcity:
        return Scarcity(
            folder=str(self.folder),
            recipe=self.recipe.name,
            catalogs=described(self.catalogs),
            images=self.images,
            steps=self.recipe.train.steps,
            batch_size=self.recipe.train.batch_size,
            seeds=self.seeds,
            trainings=len(self.jobs),
            points=tuple(job.point() for job in self.jobs if job.done),
            parts=self.parts,
        )

    def write(self) -> Scarcity:
        found = self.found()
        replace_json(self.folder / "scarcity.json", found.to_dict())
        (self.folder / "scarcity.png").write_bytes(scarcity_png(found))
        replace_text(self.folder / "scarcity.svg", scarcity_svg(found))
        write_scarcity_page(found, self.folder / PAGE)
        return found


def _filters(recipe: DiffusionRecipe, task: Task) -> dict[str, str | None]:
    """The catalogs' filters by name. A tag's filter is given as SQL, because a training is pinned to a version."""
    found = {}
    for each in task.rows.selections:
        source = recipe.data.catalogs[each.name]
        tagged = tagged_filter(each.catalog, source.version)
        conditions = conditions_of(each.catalog, source.filter, source.version)
        found[each.name] = all_of(*conditions) if tagged else source.filter
    return found


def _others(jobs: Sequence[Job]) -> list[Job]:
    """Finished jobs that are not among `jobs`. They stay in the study."""
    names = {job.name for job in jobs}
    others = []
    for path in jobs[0].folder.glob("fraction-*"):
        if (named := NAME.fullmatch(path.name)) and path.name not in names:
            job = replace(jobs[0], fraction=float(named[1]), seed=int(named[2] or 1) - 1)
            others += [job] if job.done else []
    return others


def name_of(fraction: float) -> str:
    """A fraction as users type it, such as 0.03, or 1 for all images."""
    return f"{fraction:.15g}"


def _studied(recipe: Recipe) -> DiffusionRecipe:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainingError("a study runs in one process; start it without torchrun")
    if recipe.task != "diffusion":
        raise RecipeError(
            f"{recipe.name} is of task {recipe.task}; a study of scarcity needs a recipe of task diffusion"
        )
    if recipe.data.fraction != 1:
        raise RecipeError(f"{recipe.name}: the study varies data.fraction; leave it at 1")
    if not recipe.data.heldout_fraction:
        raise RecipeError(
            f"{recipe.name}: a study evaluates on held-out images; set data.heldout_fraction, such as 0.1"
        )
    return recipe


def _checked(fractions: Sequence[float]) -> list[float]:
    """Check the fractions and sort them, the smallest first."""
    if not fractions:
        raise RecipeError("--fractions: give at least one, such as 0.01 0.03 0.1 0.3 1")
    for fraction in fractions:
        if not (math.isfinite(fraction) and 0 < fraction <= 1):
            raise RecipeError(
                f"--fractions: {fraction:g} is not a share of the images; give numbers above 0, up to 1"
            )
    twice = sorted({name_of(fraction) for fraction in fractions if list(fractions).count(fraction) > 1})
    if twice:
        raise RecipeError(f"--fractions: {', '.join(twice)} is given twice")
    return sorted(fractions)


def _check_rows(
    recipe: DiffusionRecipe, task: Task, fractions: Sequence[float], seeds: int, prompts: int
) -> None:
    """Raise TrainingError if a fraction has no image, lacks a source or has as many images as another, or if there are
    too few prompts to evaluate on.
    """
    images = len(task.rows.ids("train"))
    seen: dict[int, float] = {}
    for fraction in fractions:
        count = fraction_count(images, fraction)
        if count == 0:
            raise TrainingError(
                f"--fractions: {name_of(fraction)} of {images:,} training images is less than one image; "
                f"give at least {1 / images:.2g}"
            )
        if count in seen:
            raise TrainingError(
                f"--fractions: {name_of(seen[count])} and {name_of(fraction)} of {images:,} training images are the "
                f"same {count:,} images; leave one out"
            )
        seen[count] = fraction
        for seed in range(seeds):
            _check_sources(recipe, task, fraction, seed)
    heldout = choose_prompts(task.rows.table, "heldout", prompts, EVALUATION_SEED)
    if len(heldout) < LEAST_SAMPLES:
        raise TrainingError(
            f"{recipe.name}: {len(heldout)} held-out images have a text that no training image has, too few to "
            f"evaluate on; set data.heldout_fraction above {recipe.data.heldout_fraction:g}"
        )


def _check_sources(recipe: DiffusionRecipe, task: Task, fraction: float, seed: int) -> None:
    data, rows = recipe.data, task.rows
    ids = rows.table.filter(pc.equal(rows.table["split"], "train"))["image_id"].to_pylist()
    kept = rows.sources_of("train")[fraction_mask(ids, fraction, data.fraction_seed + seed)]
    for number, name in enumerate(data.catalogs):
        if number not in kept:
            raise TrainingError(
                f"--fractions: {name_of(fraction)} of {len(ids):,} training images, seed {seed + 1}, has no image of "
                f"{name}; give a larger share, or another data.fraction_seed"
            )


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {name: record[name] for name in FIELDS}
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} is not the record of a study; choose another --out, or remove {folder}"
        ) from error


def _begin(folder: Path, recipe: DiffusionRecipe, task: Task, prompts: int) -> dict[str, int]:
    """Pin the catalogs' versions and write the study's record; returns the versions. Raises TrainingError if the folder
    has another study.
    """
    # Sampling settings don't change the weights, but they change the figures.
    sample = recipe.sample.model_dump(mode="json", exclude={"prompts"})
    wanted = {"fingerprint": fingerprint(recipe, task), "sample": sample, "prompts": prompts}
    record = _read(folder)
    if record is None:
        pin(recipe.name, task.rows)  # all trainings use these tags
        record = wanted | {
            "versions": {each.name: each.catalog.version for each in task.rows.selections},
            "recipe": recipe.model_dump(mode="json"),
            "inputs": inputs(task),
        }
        replace_text(folder / RECORD, json.dumps(record, indent=1))
    if any(record[name] != value for name, value in wanted.items()):
        changed = changes(record, recipe, task)
        changed += [name for name in ("sample", "prompts") if record[name] != wanted[name]]
        raise TrainingError(
            f"the study in {folder} has other settings (changed: {', '.join(changed)}); choose another --out"
        )
    return {each.name: each.catalog.version for each in task.rows.selections}
