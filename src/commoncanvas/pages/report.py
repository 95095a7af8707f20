"""The report of a run: one HTML file that contains everything, so that it can be sent to anyone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.files import replace_text, why
from commoncanvas.core.numbers import count, duration, figure, percent, ratio
from commoncanvas.core.text import clean, counted, visible, web_address
from commoncanvas.core.version import __version__
from commoncanvas.licenses import shortened
from commoncanvas.pages.plots import loss_chart
from commoncanvas.provenance.verdict import metric_rows, verdicts

GridItem = tuple[str, bytes, str, bytes | None]
"""Prompt, generated PNG, kind of prompt ('human', 'synthetic', 'heldout'), PNG of the real image."""
Caption = tuple[bytes, str, str | None]
"""Image file (PNG, JPEG or WebP), the model's caption, the image's true name if known."""

COMMANDS = (
    "pip install 'commoncanvas[xs]'",
    "commoncanvas demo",
    'commoncanvas generate demo/model "a deer" --seed 1',
    "commoncanvas catalog credits --catalog demo/catalog.lance --format html",
)
LOSS_TITLES = {"captioner": "Captioner", "autoencoder": "Autoencoder", "diffusion": "Diffusion model"}
KINDS = {
    "human": "a person's label",
    "synthetic": "a caption that our captioner wrote",
    "heldout": "held out",
}


def write_report(
    summary: Mapping[str, Any],
    *,
    out: Path,
    grid: Sequence[GridItem],
    losses: Mapping[str, Sequence[tuple[float, float]]],
    catalog_stats: Mapping[str, Any],
    captions: Sequence[Caption],
    credits: Sequence[Mapping[str, Any]],
    commands: Sequence[str] = COMMANDS,
    more_credits: str = "",
) -> Path:
    """Write the page to `out`, and return its path. All text is escaped, and only http(s) URLs become links.

    `summary`: the keys of summary.json; missing figures and None are shown as a dash; `training.network` names the
    kind of diffusion model. `losses`: task -> (step, loss) pairs. `catalog_stats`: counts, or counts by name.
    `credits`: one dict per image, with `title`, `creator`, `creator_url`, `page_url`, `license`, `license_url`.
    `more_credits`: where to find the credits that are not on the page.
    """
    training = summary.get("training") or {}
    titles = LOSS_TITLES | ({"diffusion": training["network"]} if "network" in training else {})
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            s=summary,
            seen=[item for item in grid if item[2] != "heldout"],
            heldout=[item for item in grid if item[2] == "heldout"],
            kinds=KINDS,
            charts=[
                (
                    titles.get(name, name),
                    data_uri(loss_chart(points).encode(), "image/svg+xml"),
                    points[-1],
                )
                for name, points in losses.items()
                if points
            ],
            metrics=metric_rows(summary),
            verdicts=verdicts(summary),
            facts=facts(catalog_stats),
            training=facts(training),
            licenses=bars(summary.get("licenses") or {}),
            creators=bars(summary.get("creators") or {}),
            license_urls={row["license"]: row.get("license_url") for row in credits if row.get("license")},
            stages=summary.get("stages") or [],
            captions=captions,
            credits=credits,
            more_credits=more_credits,
            commands=commands,
            everything=json.dumps(summary, indent=2, ensure_ascii=False, default=str),
        )
    )
    _write(out, page)
    return out


def environment(*packages: str) -> Environment:
    """The Jinja environment of all pages. It escapes everything, and a missing value is an error.

    `packages`: rooms whose templates are looked for first, such as `commoncanvas.web`.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (*packages, "commoncanvas.pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    made.filters |= {
        "count": count,
        "counted": counted,
        "percent": percent,
        "figure": figure,
        "duration": duration,
        "href": web_address,
        "picture": picture,
        "share": lambda part, whole: percent(ratio(part, whole) if whole else None),
        "ratio": ratio,
        "clean": clean,
        "condition": shortened,
    }
    return made


def write_page(out: str | Path, template: str, **values: Any) -> None:
    """Render `template` and write it to `out` atomically. Raises CommonCanvasError if it can't be written."""
    page = environment().get_template(template).render(program=f"CommonCanvas {__version__}", **values)
    _write(Path(out), page)


def _write(path: Path, page: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, page)
    except OSError as error:
        raise CommonCanvasError(f"{path} can't be written: {why(error)}") from error


def bars(counts: Mapping[str, int], most: int = 12) -> list[tuple[str, int, float]]:
    """(name, count, fraction of the largest count), largest first. At most `most`; the last one sums up the rest."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) > most:
        rest = ordered[most - 1 :]
        ordered = [*ordered[: most - 1], (f"{len(rest):,} others", sum(count for _, count in rest))]
    largest = max((count for _, count in ordered), default=0) or 1
    return [(name, count, count / largest) for name, count in ordered]


def facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value) pairs for people to read: `images_seen: 12000` -> ('images seen', '12,000')."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            shown = " · ".join(f"{key} {_scalar(count)}" for key, count in value.items())
        elif isinstance(value, (list, tuple)):
            shown = ", ".join(_scalar(entry) for entry in value)
        else:
            shown = _scalar(value)
        if shown:
            rows.append((name.replace("_", " ") if name.isidentifier() else name, shown))
    return rows


def _scalar(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return figure(value) if isinstance(value, float) else str(value)


def picture(data: bytes) -> str:
    """A data URI of an image file (PNG, JPEG or WebP, recognised by its first bytes)."""
    kinds = {b"\xff\xd8": "image/jpeg", b"RI": "image/webp"}
    return data_uri(data, kinds.get(data[:2], "image/png"))


def data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
