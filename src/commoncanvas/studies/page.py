"""The page of a study of scarcity: its plot and table, and each fraction's images for the same held-out prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from commoncanvas.core.text import clean
from commoncanvas.images.thumbnail import thumbnail
from commoncanvas.pages.report import write_page
from commoncanvas.studies.plot import scarcity_svg

if TYPE_CHECKING:
    from commoncanvas.studies.result import Point, Scarcity

PROMPTS_SHOWN = 8


def write_scarcity_page(study: Scarcity, out: str | Path) -> None:
    """Write the page of `study`, one file, at `out`. Raises CommonCanvasError if it can't be written."""
    head, *lines = study.table()
    firsts = [row.points[0] for row in study.rows]
    write_page(
        out,
        "scarcity.html.j2",
        s=study,
        made_of=_made_of(study),
        plot=scarcity_svg(study),
        head=head,
        lines=lines,
        notes=[clean(note) for note in study.notes()],
        prompts=_prompts(firsts[0]) if firsts else [],
        pictures=[(f"{100 * point.fraction:g} %", _pictures(point, "file")) for point in firsts],
        real=_pictures(firsts[0], "real_file") if firsts else [],
    )


def _made_of(study: Scarcity) -> str:
    """The catalogs and their versions."""
    names = {
        str(where["uri"]).rstrip("/").rpartition("/")[2]: where["version"]
        for where in study.catalogs.values()
    }
    return " and ".join(f"{clean(name)}, version {version}" for name, version in names.items())


def _prompts(point: Point) -> list[str]:
    return [clean(sample["prompt"]) or "" for sample in _samples(point)]


def _pictures(point: Point, which: str) -> list[bytes | None]:
    """WebP files of the generated images, or of the real ones."""
    return [thumbnail((Path(point.evaluation) / sample[which]).read_bytes()) for sample in _samples(point)]


def _samples(point: Point) -> list[dict[str, str]]:
    """The first held-out prompts, which are the same at each point."""
    path = Path(point.evaluation) / "evaluation.json"
    found: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))["heldout_samples"]
    return found[:PROMPTS_SHOWN]
