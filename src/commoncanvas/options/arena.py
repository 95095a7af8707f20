"""Options of `arena build`: how people are asked."""

from __future__ import annotations

from dataclasses import dataclass

from commoncanvas.core.errors import ArenaError


@dataclass(frozen=True, kw_only=True)
class ArenaOptions:
    """How people are asked. None means as it is; in a new arena, the default.

    Attributes:
        title: what raters read at the top; default: Which image is better?
        alignment: also ask which image follows the prompt better; fixed for an arena; default: no.
        per_rater: pairs for each rater, checks included; 0: all pairs; default: 40.
        checks: share of pairs that check a rater's attention; default: 0.1.
        consent: file with the text that raters agree to; default: a built-in one.
        shuffle_seed: random seed of sides and order; fixed for an arena; default: 0.
    """

    title: str | None = None
    alignment: bool | None = None
    per_rater: int | None = None
    checks: float | None = None
    consent: str | None = None
    shuffle_seed: int | None = None

    def __post_init__(self) -> None:
        if self.per_rater is not None and self.per_rater < 0:
            raise ArenaError(f"per-rater {self.per_rater}: give 0 for all pairs, or a number of pairs")
        if self.checks is not None and not 0 <= self.checks <= 0.5:
            raise ArenaError(f"checks {self.checks:g}: give a share from 0 to 0.5")


DEFAULTS = ArenaOptions()
