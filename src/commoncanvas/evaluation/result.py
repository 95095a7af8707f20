"""An evaluation as the terminal shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import Printed
from commoncanvas.core.text import counted
from commoncanvas.evaluation.fingerprint import Fingerprint
from commoncanvas.provenance.verdict import metric_rows, verdicts

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class SetFigures:
    """Figures of one set of prompts. Distances are to the real images of the same prompts.

    `*_reconstruction`: for the VAE's reconstructions instead of generated images, the best that a network can
    reach. `*_noise`: for uniform noise. `*_shuffled`: each caption compared with the other images' prompts.
    `retrieval_low` and `retrieval_high` bound retrieval's 95 % confidence interval. `*_p`: how often shuffled prompts
    do as well, see `metrics.permutation_p`.
    """

    prompts: int
    retrieval: float
    retrieval_low: float
    retrieval_high: float
    retrieval_chance: float
    retrieval_p: float
    retrieval_reconstruction: float
    fd: float | None
    kd: float | None
    fd_reconstruction: float | None
    kd_reconstruction: float | None
    fd_noise: float | None
    kd_noise: float | None
    roundtrip_cosine: float | None
    roundtrip_cosine_shuffled: float | None
    roundtrip_p: float | None


@dataclass(frozen=True)
class Sample:
    """One prompt and its result.

    `kind` says who wrote the prompt: 'human', 'synthetic' (a captioner), or 'heldout' (the model never saw
    it). `file` and `real_file` are PNGs, relative to the evaluation's folder.
    """

    image_id: str
    prompt: str
    kind: str
    seed: int
    file: str
    real_file: str
    retrieved: bool
    caption: str | None


@dataclass(frozen=True, repr=False)
class Evaluation(Printed):
    """What `evaluate` measured; `figures()` is the flat form that reports use."""

    model: str
    catalogs: dict[str, dict[str, str | int]]
    """`uri` and `version` of each catalog that the model learned from, by name."""
    feature_extractor: str
    feature_sha256: str
    """Digest of the extractor's weights."""
    feature_resize: str
    """How the extractor resizes and normalises images."""
    sampler: str
    """The class of the pipeline's scheduler."""
    seed: int
    guidance_scale: float
    steps: int
    captioner: str | None
    created: str
    """When, in ISO 8601."""
    out: str
    fingerprints: dict[str, dict[str, Fingerprint]]
    """How the figures of each set, `seen` and `heldout`, were measured, by the figures' names."""
    seen: SetFigures
    heldout: SetFigures | None
    seen_samples: tuple[Sample, ...]
    heldout_samples: tuple[Sample, ...]

    def figures(self) -> dict[str, float | int | None]:
        """`retrieval_seen`, `retrieval_heldout`; other figures by name, with `_heldout` for held-out prompts."""
        flat: dict[str, float | int | None] = {}
        for split, figures in (("seen", self.seen), ("heldout", self.heldout)):
            suffix = "_heldout" if split == "heldout" else ""
            for name, value in asdict(figures).items() if figures else ():
                flat[f"retrieval_{split}" if name == "retrieval" else f"{name}{suffix}"] = value
        return flat

    def to_dict(self) -> dict[str, Any]:
        marks = {
            split: {name: each.to_dict() for name, each in found.items()}
            for split, found in self.fingerprints.items()
        }
        return {"figures": self.figures(), **asdict(self), "fingerprints": marks}

    def render(self) -> RenderableType:
        """What the terminal shows: each figure with its baselines, and sentences that explain them."""
        return render(self)


NOTHING = (None, "—")


def render(found: Evaluation) -> RenderableType:
    """See `Evaluation.render`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    figures = found.figures()
    sets = [("seen", found.seen), *([("held out", found.heldout)] if found.heldout else [])]
    table = Table("", *(name for name, _ in sets), "", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in table.columns[1:-1]:
        column.justify = "right"

    def add(name: str, values: tuple[str | None, ...], says: str, style: str) -> None:
        shown = values[: len(sets)]
        if any(value not in NOTHING for value in shown):
            table.add_row(name, *(value or "" for value in shown), says, style=style)

    for row in metric_rows({**figures, "feature_extractor": found.feature_extractor}):
        add(row["name"], row["values"], f"{row['says']}; {row['better']} is better", "bold")
        for name, *values in row["baselines"]:
            add(f"  {name}", tuple(values), "", "")
    prompts = " and ".join(f"{counted(each.prompts, 'prompts')} {name}" for name, each in sets)
    title = Text(
        f"{found.model}: {prompts}, guidance {found.guidance_scale:g}, {counted(found.steps, 'steps')}"
    )
    pictures = Text(f"pictures: {found.out}")
    return Group(title, Text(""), table, Text(""), *map(Text, verdicts(figures)), pictures)
