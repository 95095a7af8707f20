"""The images that wait: bounded, fair between those who ask, and taken in batches of equal settings. Pure."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What waits: who asked for it, and what those of one batch have in common."""

    @property
    def owner(self) -> str: ...

    @property
    def kind(self) -> Hashable: ...


W = TypeVar("W", bound=Waiting)


@dataclass
class FairQueue(Generic[W]):
    """At most `most` images, but one request for more fits while nothing waits. Owners take turns, image by image.
    Images of one owner and kind stay in order.

    `shared`: several owners use it, so that nobody may fill it. An owner may then have as many waiting images as there
    are free places afterwards: one alone gets half of the queue, two get a third each.
    A. K. Choudhury, E. L. Hahne, Dynamic queue length thresholds for shared-memory packet switches, 1998.
    """

    most: int
    shared: bool = False

    def __post_init__(self) -> None:
        self._owners: OrderedDict[str, deque[W]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def excess(self, owner: str, count: int) -> int:
        """How many images must leave before `count` more of an owner fit; 0: they fit now."""
        held = len(self._owners.get(owner, ()))
        over = max(0, self._count + count - self.most)
        if self.shared and held:
            # Each of the owner's own images that leaves makes two places.
            over = max(over, min(held, math.ceil((self._count + held + count - self.most) / 2)))
        return min(over, self._count)

    def add(self, items: list[W]) -> None:
        """Add images that fit."""
        for item in items:
            self._owners.setdefault(item.owner, deque()).append(item)
        self._count += len(items)

    def first(self) -> W | None:
        """The image that is drawn next."""
        return next(iter(self._owners.values()))[0] if self._owners else None

    def ahead(self, item: W) -> int | None:
        """How many images come before one that waits, if no more are added; None if it doesn't wait."""
        owners = list(self._owners)
        if item not in self._owners.get(item.owner, ()):
            return None
        mine, turn = self._owners[item.owner].index(item), owners.index(item.owner)
        return mine + sum(
            min(len(self._owners[owner]), mine + (place < turn))
            for place, owner in enumerate(owners)
            if place != turn
        )

    def take(self, most: int) -> list[W]:
        """Remove the next batch: the first image, and up to `most` - 1 of its kind, owner by owner in turn."""
        first = self.first()
        if first is None:
            return []
        taken: list[W] = []
        turn = deque(self._owners)
        while turn and len(taken) < most:
            owner = turn.popleft()
            found = next((item for item in self._owners[owner] if item.kind == first.kind), None)
            if found is not None:
                self._owners[owner].remove(found)
                self._owners.move_to_end(owner)
                taken.append(found)
                turn.append(owner)
        self._forget(len(taken))
        return taken

    def remove(self, items: list[W]) -> list[W]:
        """Remove those of some images that still wait, and return them."""
        found = [item for item in items if item in self._owners.get(item.owner, ())]
        for item in found:
            self._owners[item.owner].remove(item)
        self._forget(len(found))
        return found

    def _forget(self, count: int) -> None:
        self._count -= count
        for owner in [owner for owner, items in self._owners.items() if not items]:
            del self._owners[owner]
