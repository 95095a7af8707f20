"""Which pair a person sees next. Pure: it counts in memory what it is told, and draws by seed.

Undecided pairs of models come first, by the decision that reports use, on the first question and on the votes of all
raters: who fails checks is left out by reports alone. Within two models, the category, then the pair, that was shown
least is next.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from commoncanvas.arena.statistics.decisions import family_alpha
from commoncanvas.arena.statistics.running import RunningSequence
from commoncanvas.arena.statistics.tables import PEOPLE, Scope

NOISE, REAL = "noise", "real"
"""In place of a model's name: of noise, and of an image that no model drew."""
KINDS_OF_CHECKS = 2
"""An image against noise, and a pair shown again."""
Models = tuple[str, str]


@dataclass(frozen=True)
class Pair:
    """Two images of one prompt. `number` is its row; `models`: of the first and of the second
    image, in the order of their names; or a model (or REAL) and NOISE."""

    number: int
    id: str
    first: str
    second: str
    models: Models
    prompt: str
    text: str
    category: str

    @property
    def noise(self) -> bool:
        return NOISE in self.models


def seeded(*parts: object) -> np.random.Generator:
    """A generator that depends on all `parts`."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def check_at(seed: object, rater: str, number: int, share: float) -> str:
    """Whether a person's assignment `number` (from 0) is a check: "noise", "repeat" or "".

    Of each block of 2 / share assignments one is noise, and one of the second half a pair shown again.
    """
    if share <= 0:
        return ""
    size = max(4, round(KINDS_OF_CHECKS / share))
    block, place = divmod(number, size)
    draw = seeded(seed, "checks", rater, block)
    noise = int(draw.integers(1, size // 2))
    repeat = int(draw.integers(size // 2, size))
    return {noise: "noise", repeat: "repeat"}.get(place, "")


@dataclass
class _Group:
    """The pairs between two models: by category, their places; and what was shown and answered."""

    votes: RunningSequence
    urgency: float | None = None
    """None after a change, until it is asked for."""
    shown: int = 0
    categories: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    shown_in: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class Chooser:
    """Counts of what was shown and answered, and the choice of the next pair."""

    def __init__(self, seed: object, scope: Scope = PEOPLE) -> None:
        self.seed = seed
        self.scope = scope
        self.pairs: list[Pair] = []
        self.place: dict[int, int] = {}
        self.shown: NDArray[np.int64] = np.zeros(0, np.int64)
        self.noise: NDArray[np.int64] = np.zeros(0, np.int64)
        self.groups: dict[Models, _Group] = {}
        self.alpha = family_alpha(0)

    def add(self, pairs: Iterable[Pair]) -> None:
        """More pairs; those that are known stay as they are."""
        new: dict[tuple[Models, str], list[int]] = defaultdict(list)
        noise: list[int] = []
        for pair in pairs:
            if pair.number in self.place:
                continue
            at = self.place[pair.number] = len(self.pairs)
            self.pairs.append(pair)
            (noise if pair.noise else new[pair.models, pair.category]).append(at)
        self.noise = _longer(self.noise, noise)
        for (models, category), places in new.items():
            group = self.groups.setdefault(models, _Group(RunningSequence(self.scope)))
            group.categories[category] = _longer(group.categories.get(category, self.shown[:0]), places)
        self.shown = _longer(self.shown, [0] * (len(self.pairs) - len(self.shown)))
        self.alpha = family_alpha(len({name for models in self.groups for name in models}))
        for group in self.groups.values():
            group.urgency = None

    def pair(self, number: int) -> Pair:
        return self.pairs[self.place[number]]

    def show(self, number: int) -> None:
        """Count that a pair was shown."""
        at = self.place[number]
        self.shown[at] += 1
        pair = self.pairs[at]
        if not pair.noise:
            group = self._group(pair)
            group.shown += 1
            group.shown_in[pair.category] += 1

    def count(self, number: int, answer: str, swapped: bool, rater: str, by: int = 1) -> None:
        """Count a person's answer to the first question; `by` -1 takes it back."""
        pair = self.pair(number)
        if pair.noise:
            return
        group = self._group(pair)
        vote = float((answer == "left") ^ swapped) if answer in ("left", "right") else 0.5
        group.votes.add(vote, pair.prompt, rater, by)
        group.urgency = None

    def choose(self, rater: str, number: int, seen: Collection[int]) -> Pair | None:
        """A pair that this person did not see (`seen`: numbers of pairs); None if there is none left."""
        draw = seeded(self.seed, "next", rater, number)
        groups = [self.groups[models] for models in sorted(self.groups)]
        order = draw.permutation(len(groups)).tolist()
        order.sort(key=lambda at: (-self._urgency(groups[at]), groups[at].shown))
        for group in (groups[at] for at in order):
            names = sorted(group.categories)
            names = [names[at] for at in draw.permutation(len(names)).tolist()]
            for name in sorted(names, key=lambda name: group.shown_in[name] / len(group.categories[name])):
                found = self._least_shown(group.categories[name], seen, draw)
                if found is not None:
                    return found
        return None

    def choose_noise(self, rater: str, number: int, seen: Collection[int]) -> Pair | None:
        """An image against noise that this person did not see."""
        return self._least_shown(self.noise, seen, seeded(self.seed, "noise", rater, number))

    def swapped(self, pair: Pair) -> bool:
        """Whether the second image is on the left: the first time by seed, then in turn."""
        first = bool(seeded(self.seed, "sides", pair.id).integers(2))
        return first ^ bool(self.shown[self.place[pair.number]] % 2)

    def _urgency(self, group: _Group) -> float:
        if group.urgency is None:
            group.urgency = group.votes.urgency(self.alpha)
        return group.urgency

    def _group(self, pair: Pair) -> _Group:
        return self.groups[pair.models]

    def _least_shown(
        self, places: NDArray[np.int64], seen: Collection[int], draw: np.random.Generator
    ) -> Pair | None:
        keys = self.shown[places] + draw.random(len(places))
        for _ in range(len(places)):
            best = int(keys.argmin())
            pair = self.pairs[int(places[best])]
            if pair.number not in seen:
                return pair
            keys[best] = np.inf
        return None


def _longer(array: NDArray[np.int64], more: list[int]) -> NDArray[np.int64]:
    return np.concatenate([array, np.array(more, np.int64)])
