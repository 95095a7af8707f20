"""Options of `arena build`: how people are asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commoncanvas.core.errors import ArenaError


@dataclass(frozen=True)
class CheckRule:
    """Which raters are left out. People often answer differently when two images are about as good, so repeated pairs
    are shown and leave nobody out, unless the rule says so.

    Attributes:
        noise: least share of checks against noise that a rater has to pass, from 0 to 1.
        repeat: least share of repeated pairs that a rater has to answer as before, from 0 to 1.
        least: checks of a kind that a rater has answered before the rule is applied.
    """

    noise: float = 0.6
    repeat: float = 0.0
    least: int = 2

    def __post_init__(self) -> None:
        for name in ("noise", "repeat"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ArenaError(f"rule for checks: {name} is {share:g}; give a share from 0 to 1")
        if self.least < 1:
            raise ArenaError(f"rule for checks: least is {self.least}; give 1 or more")

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> CheckRule:
        """The rule that an arena stores. Raises ArenaError for a field that it doesn't know."""
        try:
            return cls(**(settings or {}))
        except TypeError as error:
            raise ArenaError(f"rule for checks: {error}; it has noise, repeat and least") from error

    def __str__(self) -> str:
        kinds = [("noise", self.noise), ("repeated", self.repeat)]
        said = [f"fewer than {100 * share:g} % of {name} checks" for name, share in kinds if share]
        return f"who passed {' or '.join(said)}, of {self.least} or more" if said else "nobody is left out"


@dataclass(frozen=True, kw_only=True)
class ArenaOptions:
    """How people are asked. None means as it is; in a new arena, the default.

    Attributes:
        title: what raters read at the top; default: Which image is better?
        alignment: also ask which image follows the prompt better; fixed for an arena; default: no.
        per_rater: pairs for each rater, checks included; 0: all pairs; default: 40.
        checks: share of pairs that check a rater's attention; default: 0.1.
        consent: file with the text that raters agree to; default: a built-in one.
        left_out: the rule that leaves raters out, by the checks that they passed; fixed for an arena.
        real_images: folder of images, each with its text beside it (0.txt beside 0.jpg), or a catalog; checks show one
            of them against noise, and not an image of a model; fixed for an arena.
        shuffle_seed: random seed of sides and order; fixed for an arena; default: 0.
    """

    title: str | None = None
    alignment: bool | None = None
    per_rater: int | None = None
    checks: float | None = None
    consent: str | None = None
    left_out: CheckRule | None = None
    real_images: str | None = None
    shuffle_seed: int | None = None

    def __post_init__(self) -> None:
        if self.per_rater is not None and self.per_rater < 0:
            raise ArenaError(f"per-rater {self.per_rater}: give 0 for all pairs, or a number of pairs")
        if self.checks is not None and not 0 <= self.checks <= 0.5:
            raise ArenaError(f"checks {self.checks:g}: give a share from 0 to 0.5")


DEFAULTS = ArenaOptions()
