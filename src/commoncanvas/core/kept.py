"""Results kept in memory, until newer ones need their place."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values by keys, with sizes of at most `most` in sum; those that were not asked for go first. Thread-safe.

    `size` of a value, such as its bytes; default: 1. The newest value stays, whatever its size.
    """

    def __init__(self, most: int, size: Callable[[V], int] = lambda _: 1) -> None:
        self._most, self._size = most, size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._sum = 0
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, which counts as asked for; None if it is not there, or no longer."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: K, value: V) -> None:
        """Keep a value, in place of an earlier one with this key."""
        with self._lock:
            self._drop(key)
            self._values[key] = value
            self._sum += self._size(value)
            while self._sum > self._most and len(self._values) > 1:
                self._drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        """Forget a value, if it is there."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: K) -> None:
        value = self._values.pop(key, None)
        if value is not None:
            self._sum -= self._size(value)
