"""What an engine is, and the one that a user names."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Literal, Protocol, TypeVar

from commoncanvas.core.errors import EngineError
from commoncanvas.engine.local import LocalEngine
from commoncanvas.engine.ray import RayEngine

T = TypeVar("T")
EngineName = Literal["local", "ray"]
ENGINES = ("local", "ray")


class Engine(Protocol):
    """Maps a function over integers, in any order."""

    @property
    def shares_memory(self) -> bool:
        """Whether the function runs in this process, so that what it changes or calls is seen here."""

    def map(self, function: Callable[[int], T], items: Sequence[int]) -> Generator[T]:
        """Yield `function(item)` as each becomes ready.

        Items are started as results are taken: no more than a few results wait. An exception of `function` is
        raised here as it is, after the results of what was already running; the other items are dropped.
        """

    def close(self) -> None:
        """End workers that live on between maps; a later map starts new ones."""


def engine_of(
    engine: Engine | EngineName | str, workers: int | None = None, device: str = "cpu", at_once: int = 1
) -> Engine:
    """An engine by name, or the one that is given.

    `local` runs `at_once` items in this process; `ray` has `workers` on the cluster that is there (default: one a
    CPU of it, or one a GPU if it has any and `device`, a recipe's word, isn't `cpu`), each with `at_once` items.
    Raises EngineError, MissingExtraError.
    """
    if not isinstance(engine, str):
        return engine
    if engine not in ENGINES:
        raise EngineError(f"engine {engine!r} is not one of: {', '.join(ENGINES)}")
    if engine == "ray":
        return RayEngine(workers, device, at_once)
    if workers is not None:
        raise EngineError(f"workers {workers} is for --engine ray; the local engine needs none")
    return LocalEngine(at_once)
