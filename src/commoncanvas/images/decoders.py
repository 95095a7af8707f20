"""Decode untrusted images in other processes. If one hangs or crashes, only its image fails. Threads that wait for a
result release the interpreter for network work.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from commoncanvas.core.errors import DecoderError, ImageError
from commoncanvas.core.platforms import (
    AddressSpace,
    end_after,
    ended_by_time,
    limits_memory,
    locked,
    nameless_file,
    need_unix,
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

DECODE_SECONDS = 60.0
"""Longest time to decode an image. The largest allowed image takes one or two seconds."""
START_SECONDS = 60.0
"""Longest time for a process to start and import its modules."""
START_PAUSES_S = (1.0, 5.0)
"""Pauses before a new try to start: memory or file handles may become free."""
ROOM_BYTES = 1 << 30
"""Address space that a process may use in addition to its size at the start. Added to it: for a large image,
LARGE_PIXEL_BYTES for each of the task's `max_pixels`; for every image, FILE_COPIES times its file."""
LARGE_PIXEL_BYTES = 8
FILE_COPIES = 3
_MAIN = (
    "import sys; sys.path[:] = {path!r}; from commoncanvas.images.decoders import serve; serve({fd}, {turn})"
)


class Task(Protocol[T_co]):
    """Processes a file in another process. Raises ImageError."""

    @property
    def max_pixels(self) -> int: ...

    def __call__(self, data: bytes, formats: Sequence[str], large: AbstractContextManager[Any]) -> T_co:
        """`formats`: allowed formats of the file. Work that needs much memory is done inside `large`."""


class Decoders(Generic[T]):
    """Up to `processes` decoding processes, started when needed. Thread-safe: each call uses one process alone."""

    def __init__(self, task: Task[T], processes: int, timeout_s: float = DECODE_SECONDS) -> None:
        """Raises PlatformError on Windows."""
        need_unix("decoding images in limited processes")
        turn = nameless_file("large images")  # the decoders lock it
        self._all = [_Decoder(task, timeout_s, turn) for _ in range(processes)]
        self._idle: queue.LifoQueue[_Decoder[T]] = queue.LifoQueue()
        self._closing = threading.Lock()
        for decoder in reversed(self._all):
            self._idle.put(decoder)

    def __call__(self, data: bytes, formats: Sequence[str], **options: Any) -> T:
        """Run the task on a file; `options` are passed to the task.

        Raises ImageError, also if the task takes too long (timeout) or its process ends (internal). Raises DecoderError
        if no process can be started.
        """
        decoder = self._idle.get()
        try:
            return decoder(data, formats, **options)
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """End the processes; running tasks fail. A later call starts new processes."""
        for decoder in self._all:
            decoder.kill()
        with self._closing:  # else two threads could each hold half of the decoders, and wait for each other
            idle = [self._idle.get() for _ in self._all]
            for decoder in idle:
                decoder.bury()
                self._idle.put(decoder)


class _Decoder(Generic[T]):
    def __init__(self, task: Task[T], timeout_s: float, turn: BinaryIO) -> None:
        self._task = task
        self._timeout_s = timeout_s
        self._turn = turn
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[Any, Any] | None = None

    def __call__(self, data: bytes, formats: Sequence[str], **options: Any) -> T:
        pipe = self._pipe or self._start()
        try:
            pipe.send((tuple(formats), len(data), options))
            pipe.send_bytes(data)
            failure, made = pipe.recv()
        except (EOFError, OSError) as error:
            status = self.bury()
            if ended_by_time(status):
                raise ImageError("timeout", f"not decoded within {self._timeout_s:g} s") from error
            raise ImageError("internal", f"its decoder ended with exit status {status}") from error
        except BaseException:  # after Ctrl-C, the next file would get this file's answer
            self.bury()
            raise
        if failure:
            raise ImageError(*failure)
        answer: T = made
        return answer

    def _start(self) -> Connection[Any, Any]:
        for pause in (*START_PAUSES_S, None):
            try:
                return self._started()
            except (EOFError, OSError) as error:
                status = self.bury()
                if pause is None:
                    ended = isinstance(error, EOFError | ConnectionError)
                    reason = f"exit status {status}" if ended else getattr(error, "strerror", None) or error
                    raise DecoderError(
                        f"no process to decode images can be started: {reason}; "
                        "free memory, allow more open files (ulimit -n) or use fewer --workers, and run it again"
                    ) from error
            time.sleep(pause)
        raise AssertionError

    def _started(self) -> Connection[Any, Any]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            # multiprocessing would run the user's main module again, so use subprocess.
            fds = theirs.fileno(), self._turn.fileno()
            command = [sys.executable, "-c", _MAIN.format(path=sys.path, fd=fds[0], turn=fds[1])]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds)
            self._pipe = pipe = Connection(ours.detach())
        pipe.send((self._task, self._timeout_s))
        if not pipe.poll(START_SECONDS):
            raise TimeoutError(f"the start takes longer than {START_SECONDS:g} s")
        pipe.recv()
        if not limits_memory():
            _say_once()
        return pipe

    def kill(self) -> None:
        """Kill the process. Safe from any thread; a thread that waits for an answer gets an error."""
        if self._process:
            self._process.kill()

    def bury(self) -> int | None:
        """Kill the process and return its exit status. The next call starts a new process."""
        self.kill()
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if pipe:
            pipe.close()
        return process.wait() if process else None


@lru_cache(maxsize=1)
def _say_once() -> None:
    from commoncanvas.core.console import say  # here: the decoding processes don't need it

    say(
        "this system does not limit the memory of the processes that decode images; for images of strangers, use Linux"
    )


@contextmanager
def _alone(turn: int, space: AddressSpace, max_bytes: int, seconds: float) -> Iterator[None]:
    """Wait for the lock on the file `turn`, then allow `max_bytes` more memory and count the time again."""
    end_after(0)
    with locked(turn):
        space.allow(ROOM_BYTES + max_bytes)
        end_after(seconds)
        yield


def serve(fd: int, turn: int) -> None:
    """The main loop of a decoding process. It ends when the other end of the socket `fd` is closed. One process at a
    time, the one that locks the file `turn`, decodes a large image.
    """
    # Ctrl-C reaches all processes of a terminal; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe: Connection[Any, Any] = Connection(os.dup(fd))
    os.close(fd)
    with suppress(EOFError, OSError):
        task, seconds = pipe.recv()
        space = AddressSpace()
        pipe.send("ready")
        while True:
            formats, size, options = pipe.recv()
            space.allow(ROOM_BYTES + FILE_COPIES * size)
            data = pipe.recv_bytes()
            large = _alone(turn, space, task.max_pixels * LARGE_PIXEL_BYTES, seconds)
            # The kernel ends it: a hanging decoder may hold the GIL, and the parent may no longer run.
            end_after(seconds)
            made = failure = None
            try:
                made = task(data, formats, large, **options)
            except ImageError as error:
                failure = error.status, str(error)
            except Exception as error:
                # An unexpected error in one of millions of rows must not end every run.
                failure = "internal", f"{type(error).__name__}: {error}"
            pipe.send((failure, made))
            end_after(0)
