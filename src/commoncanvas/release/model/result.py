"""A finished release: what is in it, and what is still missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import Printed
from commoncanvas.core.numbers import size
from commoncanvas.core.text import clean, counted
from commoncanvas.provenance.digests import WEIGHTS
from commoncanvas.provenance.model_card import read_evaluation, read_memorisation
from commoncanvas.release.about import About
from commoncanvas.release.model import checkpoints, log, parts
from commoncanvas.release.model.documents import CITATION, RESULTS
from commoncanvas.release.model.weights import SETTINGS

if TYPE_CHECKING:
    from rich.console import RenderableType

GROUPS = {
    "credits, as files and a page": ("credits", "credits.csv", "credits.parquet", "credits.html"),
    "provenance and rows": ("provenance.json", "rows.parquet", "recipe.yaml", "release.json"),
    "intermediate checkpoints": (checkpoints.FOLDER,),
    "training log": (log.FOLDER,),
    "evaluation": ("evaluation", ".eval_results"),
    "memorisation": ("memorisation",),
}
MODEL, DOCUMENTS = "model", "documents"
"""The groups of the other files: the pipeline's parts with their settings and weights, and all else."""


@dataclass(frozen=True)
class Group:
    """Files of one kind: their number and size."""

    name: str
    files: int
    bytes: int


@dataclass(frozen=True, repr=False)
class ReleasedModel(Printed):
    """The folder `out` with a published model. `license`: the model's, None if no single licence covers its images;
    `license_note`: why. `missing`: what it could have besides, and how.
    """

    out: str
    name: str
    files: int
    bytes: int
    images: int
    creators: int
    license: str | None
    license_note: str
    groups: tuple[Group, ...]
    missing: tuple[str, ...]

    def render(self) -> RenderableType:
        """What the terminal shows."""
        from rich.console import Group as Lines
        from rich.table import Table
        from rich.text import Text

        table = Table("", "files", "", box=None, header_style="bold", padding=(0, 2, 0, 0))
        table.columns[1].justify = table.columns[2].justify = "right"
        for each in self.groups:
            table.add_row(each.name, f"{each.files:,}", size(each.bytes))
        title = f"{self.name}: {counted(self.files, 'files')}, {size(self.bytes)}, in {self.out}"
        facts = f"{counted(self.images, 'images')} by {counted(self.creators, 'creators')}, all credited"
        lines = [Text(clean(title) or "", "bold"), Text(facts), Text(f"licence: {clean(self.license_note)}")]
        missing = [Text(f"missing: {clean(line)}", "yellow") for line in self.missing]
        return Lines(*lines, Text(""), table, *([Text("")] if missing else []), *missing)


def released(out: Path, record: dict[str, Any], about: About, shown: str) -> ReleasedModel:
    """The release in `out`. `about`: the answers in its documents. `shown`: its place as the user wrote it."""
    sizes = {path.relative_to(out): path.stat().st_size for path in out.rglob("*") if path.is_file()}
    named = {top: group for group, tops in GROUPS.items() for top in tops}
    grouped = {path: named.get(path.parts[0]) or _kind(out, path) for path in sizes}
    groups = []
    for group in (MODEL, *GROUPS, DOCUMENTS):
        mine = [sizes[path] for path in sizes if grouped[path] == group]
        if mine:
            groups.append(Group(group, len(mine), sum(mine)))
    return ReleasedModel(
        shown,
        record["name"],
        len(sizes),
        sum(sizes.values()),
        record["rows"]["train"],
        record["creators"],
        record["result_license"],
        record["result_license_note"],
        tuple(groups),
        tuple(_missing(out, record, about)),
    )


def _kind(out: Path, path: Path) -> str:
    top = path.parts[0]
    of_model = (out / top / "config.json").is_file() or any((out / top).glob("*_config.json"))
    return MODEL if of_model or path.name.endswith((WEIGHTS, *SETTINGS)) else DOCUMENTS


def _missing(out: Path, record: dict[str, Any], about: About) -> Iterator[str]:
    if record["result_license"] is None:
        yield f"a licence; {record['result_license_note']}"
    yield from parts.still_missing(record, out)
    evaluation = read_evaluation(out)
    if record["task"] == "diffusion" and not evaluation:
        yield "figures; run commoncanvas evaluate on the model, remove this folder, and release the model again"
    if record["task"] == "diffusion" and not read_memorisation(out):
        yield "how often the model draws its training images again; run commoncanvas memorisation on the model first"
    if not (out / log.FOLDER / log.LOG).is_file():
        yield "the training log; the folder of the run is not beside the model"
    if not (out / checkpoints.FOLDER).is_dir():
        yield "intermediate checkpoints; --checkpoints all"
    if not (out / CITATION).is_file():
        yield f"{CITATION}; it names the publisher: --name owner/name, or provider in --about"
    if evaluation and not (out / RESULTS).is_file():
        yield f"{RESULTS}; it names the published data: --data owner/name"
    if unanswered := about.missing():
        yield (
            f"answers that only you can give: {', '.join(unanswered)}; commoncanvas release about > about.yaml "
            "writes the questions, --about about.yaml reads the answers"
        )
