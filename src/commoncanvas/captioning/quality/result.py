"""The caption report, and its table for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commoncanvas.captioning.quality.fitting import Fit
from commoncanvas.captioning.quality.rules import RULES
from commoncanvas.core.console import Printed
from commoncanvas.core.tables import count_table
from commoncanvas.core.text import clean, counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from commoncanvas.captioning.quality.fitting import Fit


@dataclass(frozen=True)
class Scored:
    """A caption and its score. `CaptionReport.ranked_by` names the score."""

    row_id: int
    image_id: str
    caption: str
    score: float


@dataclass(frozen=True, repr=False)
class CaptionReport(Printed):
    """All counts are of rows that meet `where`. Words are sequences of letters and digits, in lower case."""

    uri: str
    version: int
    column: str
    where: str | None
    rows: int
    """Number of fetched images."""
    captions: int
    statuses: dict[str, int]
    made_by: dict[str, Any] | None
    """Model, revision and settings of the column; None if no model wrote it."""
    words_mean: float
    words_quantiles: dict[str, int]
    """Quantiles of words per caption: least, 5 %, half, 95 %, most."""
    lengths: dict[int, int]
    vocabulary: int
    """Different words in all captions."""
    vocabulary_of_10k_words: float | None
    """Mean number of different words per 10,000 words; None for fewer than 10,000 words."""
    distinct: int
    """Number of different captions."""
    shared: int
    """Number of captions that another image also has."""
    top_captions: dict[str, int]
    top_openings: dict[str, int]
    top_boilerplate: dict[str, int]
    """Openings that the rule `boilerplate` matches."""
    taken_by: dict[str, int]
    """Rule without a number -> captions that it would drop."""
    not_ascii: int
    """Captions with a non-ASCII character, such as an accent, an emoji or another script."""
    sample: int
    """Captions chosen at random with `seed` to be compared."""
    seed: int
    clip: Fit | None
    """Agreement with the images, by `clip_model`, for rows with a readable image."""
    clip_model: str | None
    human: Fit | None
    """Sentence cosine with human text."""
    ranked_by: str | None
    best: tuple[Scored, ...]
    worst: tuple[Scored, ...]

    def render(self) -> RenderableType:
        """The table that the terminal shows."""
        return render(self)


def render(found: CaptionReport) -> RenderableType:
    """See `CaptionReport.render`."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.text import Text

    title = Text(f"{found.column} of {found.uri} version {found.version}")
    title.stylize("bold", 0, len(found.column))
    tables = [
        count_table("status", found.statuses, found.rows),
        count_table("caption of several images", found.top_captions, found.captions, of="captions"),
        count_table("opening", found.top_openings, found.captions, of="captions"),
        count_table("boilerplate", found.top_boilerplate, found.captions, of="captions"),
        count_table(
            "rule", {f"{n}: {RULES[n][1]}": c for n, c in found.taken_by.items()}, found.captions, of="drops"
        ),
    ]
    return Group(
        title,
        *(Text(line) for line in summary(found)),
        Text(""),
        Columns([table for table in tables if table], padding=(1, 3)),
    )


def summary(found: CaptionReport) -> list[str]:
    """The report in sentences."""
    lines = [f"{counted(found.captions, 'captions')} of {counted(found.rows, 'fetched images')}"]
    if found.made_by:
        settings = ", ".join(f"{name} {value}" for name, value in found.made_by.items() if value is not None)
        lines.append(clean(f"made with {settings}") or "")
    if not found.captions:
        return lines
    quantiles = found.words_quantiles
    lines += [
        f"{found.words_mean:.1f} words on average (nine of ten captions: {quantiles['5 %']} to {quantiles['95 %']}; "
        f"longest: {quantiles['most']}); {found.vocabulary:,} different words"
        + (f", {found.vocabulary_of_10k_words:,.0f} per 10,000" if found.vocabulary_of_10k_words else ""),
        f"{found.distinct:,} different captions; {found.shared:,} are also used by another image; "
        f"{found.not_ascii:,} have non-ASCII characters",
        *agreement(found),
    ]
    return lines


def agreement(found: CaptionReport) -> list[str]:
    """How well captions fit, or why this is unknown."""
    drawn = f"of {found.sample:,} random captions (seed {found.seed})"
    lines = []
    if found.clip:
        lines.append(f"CLIP score by {clean(found.clip_model)}: {_fit(found.clip, '.1f')}")
        if found.clip.rows < found.sample:
            lines.append(f"{found.sample - found.clip.rows:,} {drawn} have an unreadable image")
    elif found.clip_model:
        lines.append(f"no CLIP score: fewer than two {drawn} have a readable image")
    else:
        lines.append("no CLIP score: give --clip")
    if found.human:
        lines.append(f"sentence cosine with human text: {_fit(found.human, '.3f')}")
    else:
        lines.append(
            f"no sentence cosine: fewer than two {drawn} have human text, or the model isn't installed"
        )
    return lines


def _fit(found: Fit, digits: str) -> str:
    return (
        f"{found.matched:{digits}}, shuffled {found.shuffled:{digits}}; own caption is the nearest of "
        f"{found.rows:,} for {found.retrieval:.1%}, by chance {found.chance:.1%}"
    )
