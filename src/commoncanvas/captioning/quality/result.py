"""The report of captions as the terminal shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
    """A caption and its score, by `CaptionReport.ranked_by`."""

    row_id: int
    image_id: str
    caption: str
    score: float


@dataclass(frozen=True, repr=False)
class CaptionReport(Printed):
    """Counts are of rows that the filter lets in; words are runs of letters and digits, small."""

    uri: str
    version: int
    column: str
    where: str | None
    rows: int
    """Of fetched images."""
    captions: int
    statuses: dict[str, int]
    made_by: dict[str, Any] | None
    """Model, revision and settings of the column; None if no model wrote it."""
    words_mean: float
    words_quantiles: dict[str, int]
    """Words a caption: least, 5 %, half, 95 %, most."""
    lengths: dict[int, int]
    vocabulary: int
    """Different words in all captions."""
    vocabulary_of_10k_words: float | None
    """Different words among 10,000, the mean over stretches of so many; None if there are fewer."""
    distinct: int
    """Different captions."""
    shared: int
    """Captions that another image has too."""
    top_captions: dict[str, int]
    top_openings: dict[str, int]
    top_boilerplate: dict[str, int]
    """Openings that the rule `boilerplate` takes, as their words are."""
    taken_by: dict[str, int]
    """Captions that a rule without a number would take."""
    not_ascii: int
    """Captions with a character that isn't ASCII, such as an accent, an emoji or another script."""
    sample: int
    """Captions that were drawn by `seed` to be compared."""
    seed: int
    clip: Fit | None
    """Agreement with the images, by `clip_model`; the rows are those whose image can be read."""
    clip_model: str | None
    human: Fit | None
    """Sentence cosine with human text."""
    ranked_by: str | None
    best: tuple[Scored, ...]
    worst: tuple[Scored, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> RenderableType:
        """What the terminal shows."""
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
            "rule", {f"{n}: {RULES[n][1]}": c for n, c in found.taken_by.items()}, found.captions, of="takes"
        ),
    ]
    return Group(
        title,
        *(Text(line) for line in summary(found)),
        Text(""),
        Columns([table for table in tables if table], padding=(1, 3)),
    )


def summary(found: CaptionReport) -> list[str]:
    """What the report says in sentences."""
    lines = [f"{counted(found.captions, 'captions')} of {counted(found.rows, 'fetched images')}"]
    if found.made_by:
        settings = ", ".join(f"{name} {value}" for name, value in found.made_by.items() if value is not None)
        lines.append(clean(f"written by {settings}") or "")
    if not found.captions:
        return lines
    quantiles = found.words_quantiles
    lines += [
        f"{found.words_mean:.1f} words on average ({quantiles['5 %']} to {quantiles['95 %']} in nine of ten, at most "
        f"{quantiles['most']}); {found.vocabulary:,} different words"
        + (f", {found.vocabulary_of_10k_words:,.0f} in 10,000" if found.vocabulary_of_10k_words else ""),
        f"{found.distinct:,} different captions; {found.shared:,} are another image's too; "
        f"{found.not_ascii:,} have characters beyond ASCII",
        *agreement(found),
    ]
    return lines


def agreement(found: CaptionReport) -> list[str]:
    """How well captions fit, or why that isn't known."""
    drawn = f"of {found.sample:,} drawn by seed {found.seed}"
    lines = []
    if found.clip:
        lines.append(f"CLIP score by {clean(found.clip_model)} {_fit(found.clip, '.1f')}")
        if found.clip.rows < found.sample:
            lines.append(f"{found.sample - found.clip.rows:,} {drawn} have an image that can't be read")
    elif found.clip_model:
        lines.append(f"no CLIP score: fewer than two {drawn} have an image that can be read")
    else:
        lines.append("no CLIP score: give --clip")
    if found.human:
        lines.append(f"sentence cosine with human text {_fit(found.human, '.3f')}")
    else:
        lines.append(
            f"no sentence cosine: fewer than two {drawn} have human text, or the model isn't installed"
        )
    return lines


def _fit(found: Fit, digits: str) -> str:
    return (
        f"{found.matched:{digits}}, shuffled {found.shuffled:{digits}}; nearest of {found.rows:,} in "
        f"{found.retrieval:.1%}, by chance {found.chance:.1%}"
    )
