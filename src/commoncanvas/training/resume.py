"""The files of a run, and checks that a resumed run has the same recipe and inputs."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import torch

from commoncanvas.config import DiffusionRecipe, Recipe, RecipeBase
from commoncanvas.config.recipes import FROM_INIT
from commoncanvas.core.console import say
from commoncanvas.core.errors import ModelError, TrainingError
from commoncanvas.core.files import replace_text
from commoncanvas.core.text import counted
from commoncanvas.models.devices import pick_device, precision_on
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.selection.rows import TrainingRows
from commoncanvas.selection.select import Pin, Pins, taken_down_since
from commoncanvas.table.storage import Storage
from commoncanvas.training.checkpoints.checkpoint import saved_steps
from commoncanvas.training.model_folder import pinned_tag
from commoncanvas.training.schedule import same_rates_until
from commoncanvas.training.task import Task
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.trackers import Tracked

CADENCE = {
    *("checkpoint_every", "keep_checkpoints", "log_every", "sample_every", "validate_every", "validate_rows"),
    *(
        "most_skipped",
        "device",
        "trackers",
        "sharding",
        "shard_ranks",
        "reshard_after_forward",
        "checkpoints",
        "micro_batch",
        "activation_checkpointing",
    ),
}
"""Fields that may change when a run is resumed. Most change the weights at most by rounding. But the noise depends on
the device, and micro_batch changes how a captioner's loss weighs tokens."""
SHOWN = 20
"""At most so many images that were taken down are named in a message."""
RECORD = "run.json"
FIELDS = ("id", "fingerprint", "earlier", "tags", "left_out", "taken_down", "recipe", "inputs")
"""Fields of the record."""
R = TypeVar("R", bound=RecipeBase)
NAMED = re.compile(r"data\.catalogs\.\w+\.catalog|vae|text_encoder|init")
"""Fields that name inputs. A run depends on the contents of these inputs, not on their names."""


class Run:
    """The files of a run: `<out>-run/` with checkpoints, log and samples, and `<out>/`, the model folder.

    Raises TrainingError if there is a run and `resume` is false, or if the files are not those of a run.
    """

    def __init__(self, recipe: Recipe, resume: bool) -> None:
        self.model_folder = Path(recipe.out)
        self.folder = self.model_folder.with_name(self.model_folder.name + "-run")
        self.path = self.folder / RECORD
        self.storage = Storage(recipe.train.checkpoints) if recipe.train.checkpoints else None
        self.place = str(self.folder)
        """Where the run was found."""
        self.lengthened: int | None = None
        """The step from which the run is extended, if it gets more steps."""
        self.record = self._read(resume)
        self._changed = False
        self.recipe = resolved(recipe, self.record)
        if self.record and not resume:
            raise TrainingError(
                f"{self.folder} already holds a run; continue it with --resume, or choose another --out"
            )

    @property
    def id(self) -> str | None:
        """None before the run has started."""
        return self.record["id"] if self.record else None

    @property
    def pins(self) -> Pins:
        """The pinned version of each catalog, and the rows left out of it; empty before the run has started."""
        if not self.record:
            return {}
        left_out = self.record["left_out"]
        return {name: Pin(tag, tuple(left_out.get(name, ()))) for name, tag in self.record["tags"].items()}

    @property
    def taken_down(self) -> list[dict[str, int]]:
        """Each time the run continued without images that were taken down: `from_step`, and the number of `rows`."""
        return list(self.record["taken_down"]) if self.record else []

    def leave_out(self, removed: Mapping[str, pa.Table]) -> None:
        """Continue without rows that were taken down since the run started. Call `renew` after it."""
        assert self.record is not None
        for name, rows in removed.items():
            before = self.record["left_out"].get(name, [])
            self.record["left_out"][name] = sorted([*before, *rows["_rowid"].to_pylist()])
        saved = saved_steps(Storage(self.checkpoints_before))
        step = self.lengthened if self.lengthened is not None else (saved or [0])[-1]
        self.record["taken_down"].append({"from_step": step, "rows": sum(map(len, removed.values()))})

    def renew(self, task: Task) -> None:
        """Update the record to `task`, which has other rows than before."""
        assert self.record is not None
        self.record["earlier"].append(self.record["fingerprint"])
        self.record |= {"fingerprint": fingerprint(self.recipe, task), "inputs": inputs(task)}
        self._changed = True

    def finished(self, task: Task) -> bool:
        """Whether the model folder exists. Raises TrainingError if it or the run has another recipe or other inputs."""
        wanted = fingerprint(self.recipe, task)
        if self.record and self.record["fingerprint"] != wanted:
            changed = changes(self.record, self.recipe, task)
            if changed == ["train.steps"] and self._steps_before < self.recipe.train.steps:
                self.lengthened = self._longer()
                return False
            raise TrainingError(
                f"the run in {self.place} was started with other settings or data (changed: {', '.join(changed)}); "
                "choose another --out" + (" and another train.checkpoints" if self.storage else "")
            )
        if not self.model_folder.exists():
            return False
        try:
            made: object = read_provenance(self.model_folder)["training"]["fingerprint"]
        except (ModelError, KeyError, TypeError):
            made = None  # not made by CommonCanvas
        if made != wanted:
            raise TrainingError(
                f"{self.model_folder} already exists, but was not made by this recipe; "
                "choose another --out, or remove it"
            )
        return True

    @property
    def earlier(self) -> list[str]:
        """Fingerprints that the run had when it had fewer steps or more rows."""
        if not self.record:
            return []
        return [
            *self.record["earlier"],
            *([self.record["fingerprint"]] if self.lengthened is not None else []),
        ]

    @property
    def _steps_before(self) -> int:
        assert self.record is not None
        steps: int = self.record["recipe"]["train"]["steps"]
        return steps

    def _longer(self) -> int:
        """The newest step from which the run can be extended, with the result of a run of that length from the start.

        Raises TrainingError if there is none.
        """
        before, train = self._steps_before, self.recipe.train
        equal = same_rates_until(self.recipe, before)
        saved = saved_steps(Storage(self.checkpoints_before)) or [0]
        usable = [step for step in saved if step <= equal]
        if usable:
            self._model_before()
            return usable[-1]
        out = str(self.model_folder)
        raise TrainingError(
            f"{self.recipe.name}: a run of {before} steps can't be extended to {train.steps}: with these settings both "
            f"are equal only up to step {equal}, and no checkpoint up to that step is left; "
            + (
                "to continue from its model: "
                + self.recipe.command("train", "--init", out, "--out", f"{out}-longer")
                if self.recipe.task == "diffusion"
                else "to start again: " + self.recipe.command("train", "--out", f"{out}-longer")
            )
        )

    def _model_before(self) -> Path:
        """Where the model of fewer steps is kept. Raises TrainingError if there is another one already."""
        before = self._steps_before
        kept = self.model_folder.with_name(f"{self.model_folder.name}-{before}-steps")
        if self.model_folder.exists() and kept.exists():
            raise TrainingError(
                f"the model of {before} steps can't be renamed to {kept}, which already exists; move that folder"
            )
        return kept

    def _lengthen(self, task: Task) -> None:
        """Extend the run to more steps. If it has a model already, rename that."""
        assert self.record is not None
        before, kept = self._steps_before, self._model_before()
        if self.model_folder.exists():
            self.model_folder.rename(kept)
            say(f"{self.recipe.name}: renamed the model of {before} steps to {kept}")
        self.record["earlier"] = self.earlier
        self.record["fingerprint"] = fingerprint(self.recipe, task)
        self.record["recipe"]["train"]["steps"] = self.recipe.train.steps
        self.lengthened = None
        self._write()
        if self.storage:
            self.storage.write(RECORD, self.path.read_bytes())

    def begin(self, task: Task) -> None:
        """Record the run, and pin the catalogs' versions by tags, so that no clean-up deletes them."""
        if self.record:
            if self.lengthened is not None:
                self._lengthen(task)
            recorded, place = self.record["recipe"]["train"], self.recipe.train.checkpoints
            if not self.path.exists() or recorded.get("checkpoints") != place or self._changed:
                recorded["checkpoints"] = place
                self._write()
            if self.storage and (RECORD not in self.storage.files() or self._changed):
                self.storage.write(RECORD, self.path.read_bytes())
            return
        if self.path.exists():
            raise TrainingError(f"another process has just started a run in {self.folder}")
        self.record = {
            "id": uuid.uuid4().hex[:16],
            "fingerprint": fingerprint(self.recipe, task),
            "earlier": [],
            "tags": pin(self.recipe.name, task.rows),
            "left_out": {each.name: list(each.left_out) for each in task.rows.selections},
            "taken_down": [],
            "recipe": self.recipe.model_dump(mode="json"),
            "inputs": inputs(task),
        }
        self._write()
        if self.storage:
            self.storage.write(RECORD, self.path.read_bytes())
        for each in task.rows.selections:
            if each.left_out:
                say(
                    f"{self.recipe.name}: left out {counted(len(each.left_out), 'images')} of {each.catalog.uri} that "
                    f"were taken down after version {each.catalog.version}"
                )

    @property
    def checkpoints(self) -> str:
        """Path or URI of the run's checkpoints."""
        return self.recipe.train.checkpoints or str(self.folder / "checkpoints")

    @property
    def checkpoints_before(self) -> str:
        """Path or URI of the checkpoints when the run was last trained."""
        before = self.record["recipe"]["train"].get("checkpoints") if self.record else None
        return before or str(self.folder / "checkpoints")

    def check_same_run(self, seen: Sequence[object]) -> None:
        """`seen`: what each process sees of the run. Raises TrainingError unless all see the same."""
        others = [rank for rank, one in enumerate(seen) if one != seen[0]]
        if others:
            raise TrainingError(
                f"process {others[0]} does not see the same run in {self.place} as process 0; put --out on a disk that "
                "all machines share, or train.checkpoints into an object store"
            )

    def tracked(self, first_step: int) -> Tracked:
        """The run as trackers identify it; its next entries come after `first_step`."""
        assert self.record is not None
        settings = self.recipe.model_dump(mode="json")
        return Tracked(self.record["id"], self.recipe.name, self.folder, settings, first_step)

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_text(self.path, json.dumps(self.record, indent=2))

    def _read(self, resume: bool) -> dict[str, Any] | None:
        """The record. If `resume` and the folder is lost, use the copy beside the checkpoints in an object store."""
        if not self.path.exists():
            if not (resume and self.storage and RECORD in self.storage.files()):
                return None
            self.place, data = self.storage.uri, self.storage.read(RECORD)
        else:
            data = self.path.read_bytes()
        try:
            record = json.loads(data)
            return {name: record[name] for name in FIELDS}
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{self.place}/{RECORD} is not the record of a run; choose another --out, or remove it"
            ) from error


def leave_out_taken_down(run: Run, task: Task, allowed: bool) -> Task:
    """The task without images that were taken down since the run started. Raises TrainingError unless `allowed`."""
    removed = taken_down_since(task.rows)
    if not removed:
        return task
    recipe = run.recipe
    image_ids = [one for rows in removed.values() for one in rows["image_id"].to_pylist()]
    shown = ", ".join(image_ids[:SHOWN]) + (", ..." if len(image_ids) > SHOWN else "")
    if not allowed:
        raise TrainingError(
            f"{recipe.name}: images taken down since the run started ({len(image_ids):,}): {shown}; to continue "
            f"without them: {recipe.command('train', '--resume', '--without-taken-down')}; to start again without "
            f"them: {recipe.command('train', '--out', f'{recipe.out}-anew')}"
        )
    run.leave_out(removed)
    torch.manual_seed(recipe.seed)
    task = make_task(recipe, run.pins)
    run.renew(task)
    say(f"{recipe.name}: continues without {counted(len(image_ids), 'images')} that were taken down: {shown}")
    return task


def resolved(recipe: R, record: Mapping[str, Any] | None) -> R:
    """Resolve the recipe's automatic settings. Raises ModelError, RecipeError.

    The noise schedule from-init becomes that of `init`. Precision auto becomes that of the run's `record`, even on
    another device; without one, the device decides.
    """
    if isinstance(recipe, DiffusionRecipe) and recipe.noise.schedule == FROM_INIT:
        from commoncanvas.training.init_weights import with_init_schedule

        return resolved(with_init_schedule(recipe), record)  # type: ignore[return-value]
    if recipe.train.precision != "auto":
        return recipe
    begun = record["recipe"]["train"].get("precision", "auto") if record else "auto"
    precision = precision_on(pick_device(recipe.train.device), begun)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": precision})})


def pin(name: str, rows: TrainingRows) -> dict[str, str]:
    """Tag the version of each catalog that the recipe `name` trains on. Returns the tags by catalog name."""
    tags = {}
    for each in rows.selections:
        tags[each.name] = pinned_tag(name, each.catalog.version)
        each.catalog.tag(tags[each.name])
    return tags


def inputs(task: Task) -> dict[str, str]:
    """Digests of the inputs of a run besides the recipe: its rows, and the weights of the models it is built on."""
    return {"rows": task.rows.sha256} | {f"weights of the {part.role}": part.sha256 for part in task.parts}


def changes(record: Mapping[str, Any], recipe: Recipe, task: Task) -> list[str]:
    """Dotted names of settings and inputs that differ from a run's `record`."""
    fields = _differences(record["recipe"], recipe.model_dump(mode="json"))
    fields = [
        name for name in fields if not NAMED.fullmatch(name) and not name.startswith(("out", "sample."))
    ]
    fields = [name for name in fields if name.removeprefix("train.") not in CADENCE]
    return fields + _differences(record["inputs"], inputs(task))


def fingerprint(recipe: Recipe, task: Task) -> str:
    """sha256 of everything that decides the weights. Paths of catalogs and models don't count. The fraction of rows
    doesn't count either, because the digest of the rows covers it.
    """
    catalogs = {name: {"catalog": True} for name in recipe.data.catalogs}
    ignored = {"catalogs": catalogs, "fraction": True, "fraction_seed": True}
    excluded: dict[str, Any] = {"out": True, "sample": True, "train": CADENCE, "data": ignored}
    if recipe.task == "diffusion":
        excluded |= {"vae": True, "text_encoder": True, "init": True, "validation": True}
    fields = recipe.model_dump(mode="json", exclude=excluded)
    return hashlib.sha256(json.dumps([fields, inputs(task)], sort_keys=True).encode()).hexdigest()


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the fields in which two dicts differ."""
    found: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append(prefix + name)
    return found
