"""The files of a run, and what it is a run of."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commoncanvas.config import Recipe
from commoncanvas.errors import ModelError, TrainingError
from commoncanvas.files import replace_text
from commoncanvas.provenance import read_provenance
from commoncanvas.release.folder import pinned_tag
from commoncanvas.training.rows import TrainingRows
from commoncanvas.training.selecting import Pins
from commoncanvas.training.task import Task
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
    ),
}
"""Fields that may change between a run and its resumption without changing its weights."""
NAMED = re.compile(r"data\.catalog|data\.catalogs\.\w+\.catalog|vae|text_encoder|init")
"""Names of inputs, which count by their contents."""


class Run:
    """The files of a run: `<out>-run/` with checkpoints, log and samples, and `<out>/`, the model folder.

    Raises TrainingError for a run that is there already, without `resume`, and for files that aren't a run's.
    """

    def __init__(self, recipe: Recipe, resume: bool) -> None:
        self.recipe = recipe
        self.model_folder = Path(recipe.out)
        self.folder = self.model_folder.with_name(self.model_folder.name + "-run")
        self.path = self.folder / "run.json"
        self.record = self._read()
        if self.record and not resume:
            raise TrainingError(
                f"{self.folder} holds a run already; go on with --resume, or choose another --out"
            )

    @property
    def pins(self) -> Pins:
        """The tags of the catalogs' versions that the run sees; none before it has begun."""
        return self.record["tags"] if self.record else {}

    def finished(self, task: Task) -> bool:
        """Whether the model folder is there. Raises TrainingError if it, or the run, is of another recipe or parts."""
        wanted = fingerprint(self.recipe, task)
        if self.record and self.record["fingerprint"] != wanted:
            changed = ", ".join(changes(self.record, self.recipe, task))
            raise TrainingError(
                f"the run in {self.folder} was started otherwise (changed: {changed}); choose another --out"
            )
        if not self.model_folder.exists():
            return False
        try:
            made: object = read_provenance(self.model_folder)["training"]["fingerprint"]
        except (ModelError, KeyError, TypeError):
            made = None  # not one of ours
        if made != wanted:
            raise TrainingError(
                f"{self.model_folder} exists already and is not what this recipe makes; "
                "choose another --out, or remove it"
            )
        return True

    def begin(self, task: Task) -> None:
        """Pin the catalogs' versions under tags, so that no clean-up takes them away, and record the run."""
        if self.record:
            return
        if self.path.exists():
            raise TrainingError(f"{self.folder} holds a run that another process began just now")
        self.record = {
            "id": uuid.uuid4().hex[:16],
            "fingerprint": fingerprint(self.recipe, task),
            "tags": pin(self.recipe.name, task.rows),
            "recipe": self.recipe.model_dump(mode="json"),
            "inputs": inputs(task),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_text(self.path, json.dumps(self.record, indent=2))

    def tracked(self, first_step: int) -> Tracked:
        """The run as trackers know it, going on after `first_step`."""
        assert self.record is not None
        settings = self.recipe.model_dump(mode="json")
        return Tracked(self.record["id"], self.recipe.name, self.folder, settings, first_step)

    def _read(self) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
            if "tag" in record:  # of a run from before there could be several catalogs
                record["tags"] = {"": record["tag"]}
            return {name: record[name] for name in ("id", "fingerprint", "tags", "recipe", "inputs")}
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{self.path} is not the record of a run; choose another --out, or remove {self.folder}"
            ) from error


def pin(name: str, rows: TrainingRows) -> dict[str, str]:
    """Tag each catalog's version for what `name` trains on it; the tags, by the catalogs' names."""
    tags = {}
    for each in rows.selections:
        tags[each.name] = pinned_tag(name, each.catalog.version)
        each.catalog.tag(tags[each.name])
    return tags


def inputs(task: Task) -> dict[str, str]:
    """Digests of what goes into a run besides the recipe: its rows, and the weights of the parts it is built on."""
    return {"rows": task.rows.sha256} | {f"weights of the {part.role}": part.sha256 for part in task.parts}


def changes(record: Mapping[str, Any], recipe: Recipe, task: Task) -> list[str]:
    """What of a recipe and its inputs is not as in the `record` of a run, by its dotted name."""
    fields = _differences(record["recipe"], recipe.model_dump(mode="json"))
    fields = [
        name for name in fields if not NAMED.fullmatch(name) and not name.startswith(("out", "sample."))
    ]
    fields = [name for name in fields if name.removeprefix("train.") not in CADENCE]
    return fields + _differences(record["inputs"], inputs(task))


def fingerprint(recipe: Recipe, task: Task) -> str:
    """sha256 of everything that decides the weights; where the catalogs and the parts lie does not, and what a fraction
    of the rows is, the rows say.
    """
    several = recipe.data.catalogs
    # Recipes of one catalog have the fingerprint that they had before there could be several.
    catalogs = {name: {"catalog": True} for name in several} if several else True
    apart = {"catalog": True, "catalogs": catalogs, "fraction": True, "fraction_seed": True}
    excluded: dict[str, Any] = {"out": True, "sample": True, "train": CADENCE, "data": apart}
    if recipe.task == "diffusion":
        excluded |= {"vae": True, "text_encoder": True, "init": True}
    fields = recipe.model_dump(mode="json", exclude=excluded)
    return hashlib.sha256(json.dumps([fields, inputs(task)], sort_keys=True).encode()).hexdigest()


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the fields in which two recipes differ."""
    found: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append(prefix + name)
    return found
