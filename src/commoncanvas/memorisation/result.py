"""What `memorisation` and `sources` found, as the terminal shows it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import Printed
from commoncanvas.core.text import clean, counted
from commoncanvas.memorisation.calibration import Calibration, Share

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SHOWN = 8
"""Pairs that the terminal shows. The page and the JSON have more."""
FALSE_ALARMS_AIM = 0.01
LEAST_FOUND = 0.5
"""Of fewer known copies than this share, the result says that its figures are lower bounds."""
MEANING = (
    "Nearness says that two pictures look alike, not that one was made from the other: a model may draw such a picture "
    "without a copy, and it learned from all of its images, also from those that are not shown here."
)


def _table(*names: str) -> Table:
    from rich.table import Table

    return Table(*names, box=None, header_style="bold", padding=(0, 2, 0, 0))


def takedown_command(catalog: str, image_id: str) -> str:
    """What removes a training image from its catalog."""
    options = ["--catalog", catalog, "--id", image_id, "--reason", "memorised"]
    return shlex.join(["commoncanvas", "catalog", "takedown", *options])


def _short(credit: str) -> str | None:
    """Title, creator and licence of a credit's text, without links."""
    return clean(re.sub(r" \(https?://[^)\s]*\)", "", credit).partition(". Source: ")[0])


@dataclass(frozen=True)
class Pair:
    """A drawn image and the training image that is most similar to it.

    `file`: the drawn PNG, relative to the result's folder. `similarity`: cosine of whitened features. `percentile`: of
    strangers that are less similar to their nearest training image. `copies_of`: training images over the threshold, at
    most TWINS; with more than one, they can't be told apart. `own`: whether the training image is the prompt's own.
    `captions`, `pictures`, `gap`: see `Risk`.
    """

    prompt: str
    seed: int
    file: str
    image_id: str
    catalog: str
    similarity: float
    percentile: float
    copies_of: int
    own: bool
    captions: int
    pictures: int
    gap: float
    credit: str
    at_risk: bool

    @property
    def verdict(self) -> str:
        """Whether it counts as a copy, in a few words; "" if not."""
        several = f" of one of {self.copies_of:,} near-twins" if self.copies_of > 1 else ""
        return f"copy{several}" if self.copies_of else ""


@dataclass(frozen=True, repr=False)
class Memorisation(Printed):
    """How often a model draws its training images again.

    `random`: of prompts drawn at random from the training, those whose image is over the threshold; `at_risk`: of the
    prompts most at risk. `given_back`: different training images that were drawn again; `trained_on`: all of them.
    """

    model: str
    catalogs: dict[str, dict[str, str | int]]
    fingerprint: dict[str, Any]
    """How it was measured: figures with other fingerprints can't be compared."""
    created: str
    out: str
    calibration: Calibration
    random: Share
    at_risk: Share
    given_back: int
    trained_on: int
    taken_down: int
    """Training images that the catalogs no longer have; they were not compared."""
    pairs: tuple[Pair, ...]
    """The most similar first."""

    def figures(self) -> dict[str, float | int | None]:
        """The flat form for model cards."""
        measured = self.calibration.false_alarms
        found: dict[str, float | int | None] = {}
        for name, share in (("memorised", self.random), ("memorised_at_risk", self.at_risk)):
            numbers = share.to_dict()
            found |= {
                name: numbers["share"],
                f"{name}_low": numbers["low"],
                f"{name}_high": numbers["high"],
                f"{name}_prompts": share.of,
            }
        return found | {
            "memorised_images": self.given_back,
            "memorisation_false_alarms": measured.share,
            "memorisation_false_alarms_high": measured.to_dict()["high"],
            "memorisation_copies_found": self.copies_found.share,
        }

    @property
    def copies_found(self) -> Share:
        """Of all changes together."""
        each = self.calibration.copies.values()
        return Share(sum(one.found for one in each), sum(one.of for one in each))

    def to_dict(self) -> dict[str, Any]:
        calibration = self.calibration
        return {
            "figures": self.figures(),
            **{
                name: getattr(self, name)
                for name in ("model", "catalogs", "fingerprint", "created", "out", "given_back", "trained_on")
            },
            "taken_down": self.taken_down,
            "threshold": calibration.threshold,
            "false_alarms": calibration.false_alarms.to_dict(),
            "copies_found": {name: each.to_dict() for name, each in calibration.copies.items()},
            "random": self.random.to_dict(),
            "at_risk": self.at_risk.to_dict(),
            "pairs": [asdict(pair) for pair in self.pairs],
        }

    @property
    def only_least(self) -> bool:
        """Whether so few known copies are found that the shares are lower bounds and no more."""
        found = self.copies_found.share
        return found is not None and found < LEAST_FOUND

    def shown(self, share: Share) -> str:
        return f"at least {share}" if self.only_least else str(share)

    def sentences(self) -> Iterator[str]:
        """The result in words, with what it is worth."""
        if self.only_least:
            yield (
                f"These shares say little: of known copies only {self.copies_found} are found, because images that the "
                "model did not learn from are as near to its training images as copies are. More may be copies."
            )
        yield (
            f"{self.given_back:,} of {counted(self.trained_on, 'training images')} were drawn again in these "
            f"{counted(len(self.pairs), 'images')}."
        )
        alarms = self.calibration.false_alarms
        high = alarms.to_dict()["high"]
        yield f"Strangers taken for copies: {alarms}."
        if high is None or high > FALSE_ALARMS_AIM:
            yield "There are too few strangers to say that false alarms are under 1 %; look at the pairs yourself."
        for name, share in self.calibration.copies.items():
            if not self.only_least and share.of and share.found < 0.95 * share.of:
                yield f"Copies that were {name} are found less often: {share}. So the shares may be too low."
        if self.taken_down:
            yield (
                f"{counted(self.taken_down, 'training images')} left the catalogs, so the model was not compared with "
                "them. It may still draw what they show."
            )

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        shares = Table.grid(padding=(0, 2, 0, 0))
        shares.add_row("drawn again, random prompts", self.shown(self.random))
        shares.add_row("drawn again, prompts at risk", self.shown(self.at_risk))
        for name, share in self.calibration.copies.items():
            shares.add_row(f"known copies found, {name}", str(share))
        table = _table("similarity", "", "prompt", "nearest training image")
        for pair in self.pairs[:SHOWN]:
            table.add_row(f"{pair.similarity:.3f}", pair.verdict, clean(pair.prompt), _short(pair.credit))
        threshold = f"threshold {self.calibration.threshold:.3f}, {self.fingerprint['features']}"
        return Group(
            Text(f"{self.model}: {threshold}"),
            Text(""),
            shares,
            Text(""),
            *map(Text, self.sentences()),
            Text(""),
            table,
            Text(f"pictures: {self.out}"),
        )


@dataclass(frozen=True)
class Source:
    """A training image near to an image. `distance`: 1 minus the cosine of whitened features, from 0 to 2."""

    image_id: str
    catalog: str
    distance: float
    percentile: float
    copy: bool
    credit: str


@dataclass(frozen=True, repr=False)
class Sources(Printed):
    """The training images nearest to one image, the nearest first."""

    image: str
    model: str
    features: str
    threshold: float
    """Distance under which an image counts as a copy."""
    strangers: int
    meaning: str
    sources: tuple[Source, ...]

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        table = _table("distance", "nearer than", "", "training image")
        for each in self.sources:
            table.add_row(
                f"{each.distance:.3f}",
                f"{each.percentile:.1f} % of strangers",
                "copy" if each.copy else "",
                _short(each.credit),
            )
        return Group(table, Text(""), Text(self.meaning))
