"""What a feature network is, and how it runs over many images: each core prepares and computes its own small batches.

Shapes: N images, B of a batch, D features, H and W pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commoncanvas.evaluation.image_files import read_image

BATCH = {"cpu": 8, "cuda": 64}
"""Images that one thread computes at once. On a CPU, the activations of a small batch stay in its caches."""
MOST_THREADS = 16
AHEAD = 2
"""Batches for each thread that wait or are done. So few decoded images are in memory."""

S = TypeVar("S")
T = TypeVar("T")


class FeatureNetwork(Protocol):
    """Images -> features."""

    @property
    def name(self) -> str: ...

    @property
    def sha256(self) -> str:
        """Digest of the weights."""

    @property
    def resize(self) -> str:
        """In words, how images are resized and normalised."""

    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """uint8 RGB images [H, W, 3], sizes may differ -> [N, D]."""


class Network(ABC):
    """A feature network of torch. A subclass says how one image is prepared and what the network computes."""

    dimension: int
    """D."""

    def __init__(self, name: str, sha256: str, resize: str, device: torch.device) -> None:
        self.name = name
        self.sha256 = sha256
        self.resize = resize
        self.device = device
        self._threads: tuple[int, ThreadPoolExecutor] | None = None

    @abstractmethod
    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        """uint8 RGB [H, W, 3] -> what a batch consists of, on the CPU."""

    @abstractmethod
    def forward(self, batch: Tensor) -> Tensor:
        """The prepared images, stacked, on the device -> [B, D]."""

    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """uint8 RGB images [H, W, 3], sizes may differ -> [N, D]."""
        return self._run(images, self.prepare, lambda count: None)

    def of_files(
        self, paths: Sequence[Path], advance: Callable[[int], None] = lambda count: None
    ) -> NDArray[np.float32]:
        """Features [N, D] of image files. `advance` gets the number of images done since its last call.

        Raises ImageError with the name of a file that can't be read.
        """
        return self._run(paths, lambda path: self.prepare(read_image(path)), advance)

    def _run(
        self, items: Iterable[T], prepare: Callable[[T], Tensor], advance: Callable[[int], None]
    ) -> NDArray[np.float32]:
        def compute(some: tuple[T, ...]) -> NDArray[np.float32]:
            with torch.inference_mode():
                batch = torch.stack([prepare(item) for item in some])
                return self.forward(batch.to(self.device)).float().cpu().numpy()

        found = [np.empty((0, self.dimension), np.float32)]
        size = BATCH.get(self.device.type, BATCH["cuda"])
        with _single_threads() as threads:
            for features in _in_order(compute, _batches(items, size), self._pool(threads), AHEAD * threads):
                found.append(features)
                advance(len(features))
        return np.concatenate(found)

    def _pool(self, threads: int) -> ThreadPoolExecutor:
        """The same threads for each call: each has memory of its own that it keeps for its next batches."""
        if self._threads is None or self._threads[0] != threads:
            self._threads = threads, ThreadPoolExecutor(threads)
        return self._threads[1]


@contextmanager
def _single_threads() -> Iterator[int]:
    """The number of threads to start. Each computes alone: torch splits no operation, so nobody waits for others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # also for threads that start later
    try:
        yield min(before, MOST_THREADS)
    finally:
        torch.set_num_threads(before)


def _batches(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    rest = iter(items)
    while some := tuple(islice(rest, size)):
        yield some


def _in_order(
    work: Callable[[S], T], items: Iterable[S], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[T]:
    """`work` on each item in the pool's threads; the results in order, at most `ahead` of the reader."""
    waiting: deque[Future[T]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for each in waiting:
            each.cancel()
        wait(waiting)
