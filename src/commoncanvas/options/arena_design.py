"""Options of `arena power`: what an arena will be like."""

from __future__ import annotations

from dataclasses import dataclass

from commoncanvas.core.errors import ArenaError


@dataclass(frozen=True, kw_only=True)
class Design:
    """What an arena will be like.

    Attributes:
        models: number of models; each pair of them is compared.
        ties: share of votes without a winner.
        per_prompt: votes on each prompt, for each pair of models.
        per_rater: votes of each rater, for each pair of models.
        prompts: most prompts that there are; default: as many as the votes need.
        raters: most raters that there are; default: as many as the votes need.
        prompt_effect: share of the variance of votes that prompts explain, from 0 to 1.
        rater_effect: share of the variance of votes that raters explain, from 0 to 1.
        power: how often a difference of that size is found, from 0.5 to 1.
    """

    models: int = 2
    ties: float = 0.25
    per_prompt: float = 3
    per_rater: float = 40
    prompts: int | None = None
    raters: int | None = None
    prompt_effect: float = 0.1
    rater_effect: float = 0.02
    power: float = 0.8

    def __post_init__(self) -> None:
        if self.models < 2:
            raise ArenaError(f"models {self.models}: an arena compares 2 or more")
        for name in ("per_prompt", "per_rater", "prompts", "raters"):
            number = getattr(self, name)
            if number is not None and not number >= 1:
                raise ArenaError(f"{_option(name)} {number:g}: give 1 or more")
        for name in ("ties", "prompt_effect", "rater_effect"):
            share = getattr(self, name)
            if not 0 <= share < 1:
                raise ArenaError(f"{_option(name)} {share:g}: give a share from 0 to less than 1")
        if self.prompt_effect + self.rater_effect >= 1:
            raise ArenaError(
                "prompt-effect and rater-effect explain all of a vote; together they are less than 1"
            )
        if not 0.5 <= self.power < 1:
            raise ArenaError(f"power {self.power:g}: give a share from 0.5 to less than 1")


def _option(name: str) -> str:
    return name.replace("_", "-")


DEFAULTS = Design()
