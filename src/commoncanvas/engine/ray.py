"""The engine of a Ray cluster: processes on many machines, any of which may be lost at any time."""

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
"""An item whose workers are lost so often takes them down itself, most likely by its memory."""
PATIENCE_S = 30.0
"""If no worker has started after so long, it is said why."""
LOOK_S = 1.0
CONNECT_S = 10.0
_NO_CLUSTER = (
    "there is no Ray cluster {}; start one with `ray start --head`, or set RAY_ADDRESS to one's host:port"
)


@runtime_checkable
class Keyed(Protocol):
    """What a mapped function may be: one with the keys of an object store, which mustn't be stored with it."""

    storage_options: dict[str, str] | None

    def without_keys(self) -> tuple[Any, dict[str, str] | None]:
        """The same function without them, and the keys."""


class RayEngine:
    """Workers on the Ray cluster that RAY_ADDRESS names, or that runs on this machine; none is ever started.

    A worker is a process that unpickles the function once and keeps what it loads until `close`. What a lost worker
    or node had in hand is done again by another, and a new worker takes its place as soon as the cluster has room.
    `workers`: at most, and by default, one a CPU of the cluster; one a GPU if it has any and `device` isn't `cpu`.
    Each does `at_once` items, in threads. What opens an object store here, variables or storage options, is handed to
    the workers by Ray's own calls, and to nothing else. Raises EngineError, and MissingExtraError without ray.
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
            what = f"no GPU for device {device}; give auto or cpu" if self.gpus else "no CPU for tasks"
            raise EngineError(f"the Ray cluster has {what}")
        self.workers = min(workers or self.room, self.room)
        self.at_once = at_once
        self._actors: list[Any] = []

    def map(self, function: Callable[[int], T], items: Sequence[int]) -> Generator[T]:
        """See Engine. Raises EngineError if workers can't load the function, or an item takes them down."""
        run = _Run(self, function, items)
        ready: list[T] = []
        try:
            while ready or run.under_way():
                run.hand_out()  # before yielding: no worker is idle while the caller is busy with the results
                yield from ready
                ready = run.collect()
            if run.failures:
                raise run.failures[0]
        finally:
            if run.running:
                self.close()

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        for actor in self._actors:
            self._end(actor)
        self._actors = []

    def start(self) -> list[Any]:
        """Bring the workers to their full number; returns those that are new."""
        options = {
            "num_cpus": 1,
            "num_gpus": self.gpus,
            "max_concurrency": self.at_once,
            # An actor that Ray restarts keeps its tasks until there is room for it again, while others are idle.
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": "SPREAD",
        }
        kind = self._ray.remote(**options)(_worker_class())
        new = [kind.remote() for _ in range(self.workers - len(self._actors))]
        self._actors += new
        return new

    def drop(self, actor: Any) -> bool:
        """Forget a worker that is lost; whether it was known."""
        known = actor in self._actors
        if known:
            self._actors.remove(actor)
            self._end(actor)
        return known

    def _end(self, actor: Any) -> None:
        with suppress(Exception):  # the worker or the whole cluster is gone
            self._ray.kill(actor)


class _Run:
    """One map: which items wait, which worker does which."""

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
        # The keys of a store travel with each call, never in Ray's object store, which spills to disks.
        bare, storage_options = function.without_keys() if isinstance(function, Keyed) else (function, None)
        self._keys = store_keys(), storage_options
        # By Ray's own pickle, since a script's or a notebook's stages are in __main__.
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
        """Results that have come in, after waiting a little if there are none."""
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
            say(f"lost {counted(count, 'fragments')} with the workers; others do that work again")
        if time.monotonic() > self._silent_until:
            self._silent_until = float("inf")
            free = self.ray.available_resources()
            say(
                f"no worker has started yet: of {self.engine.room} {'GPUs' if self.engine.gpus else 'CPUs'} "
                f"of the Ray cluster {free.get('GPU' if self.engine.gpus else 'CPU', 0):g} are free"
            )
        return results

    def _prepare(self, actors: Sequence[Any]) -> None:
        self._starting |= {
            actor.start.remote(self._pickled, __version__, *self._keys): actor for actor in actors
        }

    def _lose(self, reference: Any, error: Exception) -> None:
        """A worker, or what it had to give, is lost: another does the item."""
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
                down = f"fragment {item} has taken down {TRIES} workers, one after the other: {why}"
                self.failures.append(EngineError(down))
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
            # What a worker has to say comes with its result; Ray's own words are for its developers.
            ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
        except ConnectionError as error:
            where = f"at {address}" if address else "on this machine"
            raise EngineError(_NO_CLUSTER.format(where)) from error
        except (RuntimeError, ValueError) as error:
            raise EngineError(
                f"the Ray cluster can't be used: {' '.join(str(error).split())[:300]}"
            ) from error
        # It tells of each lost worker on stdout, which is for figures, whatever is said of logs.
        ray._private.worker.print_to_stdstream = lambda *arguments, **options: None
    return ray


def _address() -> str:
    """Where Ray will look for the cluster first: RAY_ADDRESS, or what the last `ray start` noted; "" for neither."""
    if named := os.environ.get("RAY_ADDRESS", ""):
        return named
    noted = Path(
        os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp", "ray", "ray_current_cluster"
    )
    return noted.read_text().strip() if noted.exists() else ""


def _listens(address: str) -> bool:
    """Whether anybody does at host:port; Ray itself asks for minutes before it says no."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdecimal():
        return True  # for Ray to judge
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except OSError:
        return False
    return True


def _worker_class() -> type:
    """What runs on the cluster. A class in a function is sent there as it is, and nothing of ours is imported before
    `start`, so that a machine without commoncanvas can say so.
    """

    class CommonCanvas:
        def start(
            self,
            pickled: bytes,
            version: str,
            environment: dict[str, str | None],
            storage_options: dict[str, str] | None,
        ) -> str:
            """Load the function; what is wrong, if anything is."""
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
                # By hand, since Ray gives back a type of its own, and none at all for some exceptions.
                return None, portable(error)

    return CommonCanvas
