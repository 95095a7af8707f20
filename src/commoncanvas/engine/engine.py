"""The protocol of an engine, and how to make one by name."""

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
        """Whether the function runs in this process, and so shares its memory."""

    def map(self, function: Callable[[int], T], items: Sequence[int]) -> Generator[T]:
        """Yield each `function(item)` when it is ready.

        New items start when results are taken, so only a few results wait. An exception of `function` is raised
        here unchanged, after the results of the running items; the other items are dropped.
        """

    def close(self) -> None:
        """End workers that stay alive between maps. A later map starts new ones."""


def engine_of(
    engine: Engine | EngineName | str, workers: int | None = None, device: str = "cpu", at_once: int = 1
) -> Engine:
    """An engine by name, or `engine` itself.

    `local` runs `at_once` items at a time in this process. `ray` has `workers` on a running cluster, each with
    `at_once` items at a time. Default for `workers`: one per GPU if the cluster has any and `device` (as in a recipe)
    isn't `cpu`, else one per CPU. Raises EngineError, MissingExtraError.
    """
    if not isinstance(engine, str):
        return engine
    if engine not in ENGINES:
        raise EngineError(f"engine {engine!r} is not one of: {', '.join(ENGINES)}")
    if engine == "ray":
        return RayEngine(workers, device, at_once)
    if workers is not None:
        raise EngineError(f"workers {workers} is only for --engine ray; leave it out for the local engine")
    return LocalEngine(at_once)
