"""The Ray engine: processes on many machines. Any of them may be lost at any time."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from commoncanvas.core.console import say
from commoncanvas.core.errors import EngineError, MissingExtraError
from commoncanvas.core.text import counted, one_line
from commoncanvas.core.version import __version__
from commoncanvas.engine.keys import store_keys

T = TypeVar("T")

TRIES = 5
"""If so many workers are lost with the same item, the item is the cause, probably by its memory."""
PATIENCE_S = 30.0
"""If no worker has started after so long, a notice gives the reason."""
LOOK_S = 1.0
CONNECT_S = 10.0
_NO_CLUSTER = (
    "there is no Ray cluster {}; start one with `ray start --head`, or set RAY_ADDRESS to its host:port"
)


@runtime_checkable
class Keyed(Protocol):
    """Optional protocol of a mapped function that has an object store's keys. They must not be stored with it."""

    storage_options: dict[str, str] | None

    def without_keys(self) -> tuple[Any, dict[str, str] | None]:
        """The same function without them, and the keys."""


class RayEngine:
    """Workers on the Ray cluster at RAY_ADDRESS, or on the one that runs on this machine. It never starts a cluster.

    A worker is a process that unpickles the function once and keeps its loaded data until `close`. If a worker or node
    is lost, another worker repeats its items, and a new worker starts when the cluster has room. `workers`: at most,
    and by default, one per GPU if the cluster has any and `device` isn't `cpu`, else one per CPU. Each worker runs
    `at_once` items in threads. Object store keys (variables or storage options) are passed only in Ray's calls. Raises
    EngineError, and MissingExtraError without ray.
    """

    shares_memory = False

    def __init__(self, workers: int | None = None, device: str = "cpu", at_once: int = 1) -> None:
        if workers is not None and workers < 1:
            raise EngineError(f"workers must be at least 1, not {workers}")
        self._ray = connected()
        has = self._ray.cluster_resources()
        self.gpus = 0 if device == "cpu" or (device == "auto" and not has.get("GPU")) else 1
        self.room = int(has.get("GPU" if self.gpus else "CPU", 0))
        if not self.room:
            missing = f"no GPU for device {device}; give auto or cpu" if self.gpus else "no CPU for tasks"
            raise EngineError(f"the Ray cluster has {missing}")
        self.workers = min(workers or self.room, self.room)
        self.at_once = at_once
        self._actors: list[Any] = []

    def map(self, function: Callable[[int], T], items: Sequence[int]) -> Generator[T]:
        """See Engine. Raises EngineError if workers can't load the function, or if an item crashes them."""
        run = _Run(self, function, items)
        ready: list[T] = []
        try:
            while ready or run.under_way():
                run.hand_out()  # before the yield, so that workers are busy while the caller handles the results
                yield from ready
                ready = run.collect()
            if run.failures:
                raise run.failures[0]
        finally:
            if run.running:
                self.close()

    def close(self) -> None:
        """End the workers, even while they work."""
        for actor in self._actors:
            self._end(actor)
        self._actors = []

    def start(self) -> list[Any]:
        """Start workers up to the full number; returns the new ones."""
        options = {
            "num_cpus": 1,
            "num_gpus": self.gpus,
            "max_concurrency": self.at_once,
            # If Ray restarted an actor, its tasks would wait until there is room, while other actors are idle.
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": "SPREAD",
        }
        kind = self._ray.remote(**options)(_worker_class())
        new = [kind.remote() for _ in range(self.workers - len(self._actors))]
        self._actors += new
        return new

    def drop(self, actor: Any) -> bool:
        """Remove a lost worker; returns whether it was known."""
        known = actor in self._actors
        if known:
            self._actors.remove(actor)
            self._end(actor)
        return known

    def _end(self, actor: Any) -> None:
        with suppress(Exception):  # the worker or the whole cluster may be lost
            self._ray.kill(actor)


class _Run:
    """The state of one map: waiting items, and the items of each worker."""

    def __init__(self, engine: RayEngine, function: Callable[[int], Any], items: Sequence[int]) -> None:
        self.engine = engine
        self.ray = engine._ray
        self.waiting = deque(items)
        self.running: dict[Any, tuple[Any, int]] = {}
        self.failures: list[BaseException] = []
        self._starting: dict[Any, Any] = {}
        self._free: list[Any] = []
        self._losses: Counter[int] = Counter()
        self._failed_starts = 0
        self._silent_until = time.monotonic() + PATIENCE_S
        # Pass a store's keys with each call, never through Ray's object store, which writes to disk.
        bare, storage_options = function.without_keys() if isinstance(function, Keyed) else (function, None)
        self._keys = store_keys(), storage_options
        # Use Ray's pickle, because stages of a script or notebook are in __main__.
        self._pickled = self.ray.put(self.ray.cloudpickle.dumps(bare)) if items else None
        if items:
            engine.start()
            self._prepare(engine._actors)

    def under_way(self) -> bool:
        return bool(self.running or (self.waiting and not self.failures))

    def hand_out(self) -> None:
        while self.waiting and self._free and not self.failures:
            actor, item = self._free.pop(), self.waiting.popleft()
            self.running[actor.run.remote(item)] = actor, item

    def collect(self) -> list[Any]:
        """New results. Waits a moment if there are none."""
        results = []
        lost = self._losses.total()
        references = [*self.running, *self._starting]
        for reference in self.ray.wait(references, timeout=LOOK_S)[0] if references else ():
            try:
                outcome = self.ray.get(reference)
            except self.ray.exceptions.RayError as error:
                self._lose(reference, error)
                continue
            if reference in self._starting:
                actor = self._starting.pop(reference)
                if outcome:
                    self.failures.append(EngineError(outcome))
                self._failed_starts, self._silent_until = 0, float("inf")
                self._free += [actor] * self.engine.at_once
                continue
            actor, _ = self.running.pop(reference)
            self._free.append(actor)
            result, failure = outcome
            if failure is not None:
                self.failures.append(failure)
            else:
                results.append(result)
        if (count := self._losses.total() - lost) and not self.failures:
            say(f"workers were lost; other workers repeat {counted(count, 'fragments')}")
        if time.monotonic() > self._silent_until:
            self._silent_until = float("inf")
            free = self.ray.available_resources()
            say(
                f"no worker has started yet: {free.get('GPU' if self.engine.gpus else 'CPU', 0):g} of the Ray "
                f"cluster's {self.engine.room} {'GPUs' if self.engine.gpus else 'CPUs'} are free"
            )
        return results

    def _prepare(self, actors: Sequence[Any]) -> None:
        self._starting |= {
            actor.start.remote(self._pickled, __version__, *self._keys): actor for actor in actors
        }

    def _lose(self, reference: Any, error: Exception) -> None:
        """A worker or its result is lost: another worker repeats the item."""
        why = one_line(error)
        if reference in self._starting:
            actor = self._starting.pop(reference)
            self._failed_starts += 1
            if self._failed_starts > TRIES + self.engine.workers:
                self.failures.append(EngineError(f"no worker can start on the Ray cluster: {why}"))
        else:
            actor, item = self.running.pop(reference)
            self.waiting.appendleft(item)
            self._losses[item] += 1
            if self._losses[item] >= TRIES:
                message = f"fragment {item} crashed {TRIES} workers, one after the other: {why}"
                self.failures.append(EngineError(message))
        if self.engine.drop(actor):
            self._free = [other for other in self._free if other is not actor]
            if not self.failures:
                self._prepare(self.engine.start())


def connected() -> Any:
    """The module ray, connected to a cluster. Raises EngineError if there is none, MissingExtraError without ray."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("the ray engine needs ray; pip install 'commoncanvas[ray]'") from error
    if not ray.is_initialized():
        address = _address()
        if address and not _listens(address):
            raise EngineError(_NO_CLUSTER.format(f"at {address}"))
        try:
            # A worker's messages come with its result. Ray's own messages are for developers.
            ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
        except ConnectionError as error:
            where = f"at {address}" if address else "on this machine"
            raise EngineError(_NO_CLUSTER.format(where)) from error
        except (RuntimeError, ValueError) as error:
            raise EngineError(
                f"the Ray cluster can't be used: {' '.join(str(error).split())[:300]}"
            ) from error
        # Ray reports lost workers on stdout, even if logs are off. Our stdout is only for results.
        ray._private.worker.print_to_stdstream = lambda *arguments, **options: None
    return ray


def _address() -> str:
    """The address that Ray tries first: RAY_ADDRESS, or the one that the last `ray start` wrote; "" if none."""
    if named := os.environ.get("RAY_ADDRESS", ""):
        return named
    written = Path(
        os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp", "ray", "ray_current_cluster"
    )
    return written.read_text().strip() if written.exists() else ""


def _listens(address: str) -> bool:
    """Whether a server listens at host:port. Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdecimal():
        return True  # let Ray check it
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except OSError:
        return False
    return True


def _worker_class() -> type:
    """The class that runs on the cluster. It is defined in a function, so Ray sends its code, and only `start` imports
    commoncanvas. So a machine without commoncanvas can report that.
    """

    class CommonCanvas:
        def start(
            self,
            pickled: bytes,
            version: str,
            environment: dict[str, str | None],
            storage_options: dict[str, str] | None,
        ) -> str:
            """Load the function; returns an error message, or ""."""
            import os
            import pickle

            import ray

            for name, value in environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            wrong = ""
            try:
                from commoncanvas.core.version import __version__ as here

                if here != version:
                    wrong = f"it has commoncanvas {here}"
                self.function = pickle.loads(pickled)
                if storage_options is not None:
                    self.function.storage_options = storage_options
            except (ImportError, AttributeError) as error:
                wrong = str(error)
            return wrong and (
                f"node {ray.util.get_node_ip_address()} of the Ray cluster can't do the work: {wrong}; "
                f"install commoncanvas {version} there, with the same extras"
            )

        def run(self, item: int) -> tuple[Any, BaseException | None]:
            """The function's result, or its exception."""
            from commoncanvas.engine.portable import portable

            try:
                return self.function(item), None
            except Exception as error:
                # Return the exception: Ray would raise its own type, and loses some exceptions.
                return None, portable(error)

    return CommonCanvas
