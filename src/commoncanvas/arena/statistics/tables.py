"""Votes as arrays: whole numbers for models, prompts and raters. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from commoncanvas.arena.votes import Vote

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
SCOPE = "scope"
"""Setting of an arena: its Scope."""
Scope = Literal["people", "these raters"]
"""Whom a figure is about: people like the raters, or these raters alone. It is about prompts like these in any case."""
PEOPLE: Scope = "people"
THESE_RATERS: Scope = "these raters"


@dataclass(frozen=True)
class Table:
    """N votes in the order in which they came.

    `first` and `second` [N]: numbers of the models, in the order of `models`, whatever the sides were. `scores` [N]: 1
    if `first` won, 0.5 for both or neither, 0 if `second` won. `prompts`, `raters`, `categories` [N]: numbers.
    """

    models: tuple[str, ...]
    first: Indices
    second: Indices
    scores: Floats
    prompts: Indices
    raters: Indices
    categories: Indices
    category_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, kept: NDArray[np.bool_]) -> Table:
        """Some of the votes; models and categories keep their numbers."""
        return replace(
            self,
            first=self.first[kept],
            second=self.second[kept],
            scores=self.scores[kept],
            prompts=dense(self.prompts[kept]),
            raters=dense(self.raters[kept]),
            categories=self.categories[kept],
        )

    def pair(self, first: int, second: int) -> Table:
        """The votes between two models; scores are those of `first`."""
        low, high = min(first, second), max(first, second)
        own = self.where((self.first == low) & (self.second == high))
        if first < second:
            return own
        return Table(
            own.models,
            own.second,
            own.first,
            1 - own.scores,
            own.prompts,
            own.raters,
            own.categories,
            own.category_names,
        )

    def clusters(self, scope: Scope) -> list[Indices]:
        """The ways of clusters that a figure for `scope` has to take into account."""
        return [self.prompts, self.raters] if scope == PEOPLE else [self.prompts]


def table(votes: Iterable[Vote], models: Collection[str] = ()) -> Table:
    """The table of `votes`. `models`: more models than those that have votes; all are sorted by name."""
    votes = list(votes)
    names = tuple(sorted({*models, *(name for vote in votes for name in (vote.left, vote.right))}))
    place = {name: number for number, name in enumerate(names)}
    left = _array(place[vote.left] for vote in votes)
    right = _array(place[vote.right] for vote in votes)
    scores = np.array([{"left": 1.0, "right": 0.0}.get(vote.answer, 0.5) for vote in votes], float)
    categories = tuple(sorted({vote.category for vote in votes}))
    number_of = {name: number for number, name in enumerate(categories)}
    return Table(
        names,
        np.minimum(left, right),
        np.maximum(left, right),
        np.where(left < right, scores, 1 - scores),
        _numbers([vote.prompt for vote in votes]),
        _numbers([vote.rater for vote in votes]),
        _array(number_of[vote.category] for vote in votes),
        categories,
    )


def dense(clusters: Indices) -> Indices:
    """The same groups with numbers from 0, without gaps."""
    return np.unique(clusters, return_inverse=True)[1].astype(np.intp)


def _array(numbers: Iterable[int]) -> Indices:
    return np.fromiter(numbers, np.intp)


def _numbers(names: Sequence[str]) -> Indices:
    place: dict[str, int] = {}
    return _array(place.setdefault(name, len(place)) for name in names)
