"""The page of a sweep: curves, the table, images at the same seeds, and the prompts where the models differ most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from commoncanvas.core.text import clean
from commoncanvas.evaluation.sweeps.result import Point, Sweep, lower_is_better, title
from commoncanvas.images.thumbnail import thumbnail
from commoncanvas.pages.curves import MARKS, Dot, Series, colours_css, curves_svg
from commoncanvas.pages.report import write_page

MARK_NAMES = dict(zip(MARKS, "●■◆▲▼✚", strict=True))
MOST_COLUMNS = 12
"""Settings whose images are shown; with more, some in equal steps."""


class Column(NamedTuple):
    """The images of one point, under its name."""

    name: str
    images: list[bytes | None]


def write_sweep_page(found: Sweep, out: str | Path) -> None:
    """Write the page of `found`, one file, at `out`. Raises CommonCanvasError if it can't be written."""
    head, *lines = found.table()
    differ, shared = found.settings()
    columns = _some(found.points)
    numbers = [one.number for one in found.apart]
    write_page(
        out,
        "sweep.html.j2",
        s=found,
        colours=colours_css(),
        legend=[
            (number, MARK_NAMES[MARKS[number % len(MARKS)]], name) for number, name in enumerate(found.models)
        ],
        plots=[(f"{_axis(found, x)} against {_axis(found, y)}", _plot(found, x, y)) for x, y in found.axes],
        shared=shared,
        head=head,
        settings=len(differ),
        lines=lines,
        notes=[clean(note) for note in found.notes()],
        prompts=[clean(text) or "" for text in found.shown],
        columns=[Column(_name(found, point), _images(point, range(len(found.shown)))) for point in columns],
        apart=[(clean(one.prompt) or "", one.distance) for one in found.apart],
        apart_columns=[Column(_name(found, point), _images(point, numbers)) for point in _shared(found)]
        if numbers
        else [],
        fingerprints=_fingerprints(found),
    )


def _plot(found: Sweep, x: str, y: str) -> str:
    """Curves over the setting that varies along a line: the steps if they are an axis, else the guidance scale."""
    along = (
        "steps"
        if "steps" in (x, y) or len({point.guidance_scale for point in found.points}) == 1
        else "guidance_scale"
    )
    lines: dict[tuple[object, ...], list[Point]] = {}
    for point in found.points:
        other = point.guidance_scale if along == "steps" else point.steps
        lines.setdefault((point.model, other, point.sampler), []).append(point)
    variants = list(dict.fromkeys(key[1:] for key in lines))
    series = [
        Series(
            str(key[0]),
            found.models.index(str(key[0])),
            variants.index(key[1:]),
            tuple(_dots(sorted(points, key=lambda point: float(getattr(point, along))), x, y, along)),
        )
        for key, points in lines.items()
    ]
    return curves_svg(series, _axis(found, x), _axis(found, y))


def _dots(points: Sequence[Point], x: str, y: str, along: str) -> Iterator[Dot]:
    for point in points:
        one, other = point.value(x), point.value(y)
        if one is not None and other is not None:
            label = "" if along in (x, y) else f"{getattr(point, along):g}"
            yield Dot(one, other, label)


def _axis(found: Sweep, name: str) -> str:
    if name in ("guidance_scale", "steps"):
        return title(name)
    return f"{found.head(name)}, {'lower' if lower_is_better(name) else 'higher'} is better"


def _name(found: Sweep, point: Point) -> str:
    """A point in few words: the model, and the settings that differ."""
    differ, _ = found.settings()
    words = [point.model] if "model" in differ or not differ else []
    words += [f"guidance {point.guidance_scale:g}"] if "guidance_scale" in differ else []
    words += [f"{point.steps} steps"] if "steps" in differ else []
    words += [point.sampler.removesuffix("Scheduler")] if "sampler" in differ else []
    return " · ".join(words)


def _some(points: Sequence[Point]) -> list[Point]:
    step = -(-len(points) // MOST_COLUMNS)
    return list(points[::step])


def _shared(found: Sweep) -> list[Point]:
    """One point of each model, all with the same setting: the middle one of those that all have."""
    by_setting: dict[str, list[Point]] = {}
    for point in found.points:
        by_setting.setdefault(point.setting, []).append(point)
    whole = [points for points in by_setting.values() if len(points) == len(found.models)]
    return whole[len(whole) // 2] if whole else []


def _images(point: Point, numbers: Sequence[int]) -> list[bytes | None]:
    """WebP files of images of a point."""
    return [thumbnail((Path(point.folder) / f"{number:06}.png").read_bytes()) for number in numbers]


def _fingerprints(found: Sweep) -> list[tuple[str, list[tuple[str, str]]]]:
    """How the first point's figures were measured, each way once."""
    shown: dict[str, tuple[list[str], list[tuple[str, str]]]] = {}
    for name, figure in found.points[0].figures.items():
        fields = figure.fingerprint.to_dict()
        libraries = fields.pop("libraries", {})
        rows = [(key.replace("_", " "), clean(str(value)) or "") for key, value in fields.items()]
        rows.append(("libraries", ", ".join(f"{key} {value}" for key, value in libraries.items())))
        shown.setdefault(figure.fingerprint.digest, ([], rows))[0].append(title(name))
    return [(", ".join(names), rows) for names, rows in shown.values()]
