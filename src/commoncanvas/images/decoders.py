"""Decode untrusted images in other processes. If one hangs or crashes, only its image fails. Threads that wait for a
result release the interpreter for network work.
"""

from __future__ import annotations

import os
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from commoncanvas.core.errors import DecoderError, ImageError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

DECODE_SECONDS = 60.0
"""Longest time to decode an image. The largest allowed image takes one or two seconds."""
ORPHAN_SECONDS = 5.0
"""A process ends itself this long after its limit: its parent, which should have killed it, no longer runs."""
START_SECONDS = 60.0
"""Longest time for a process to start and import its modules."""
START_PAUSES_S = (1.0, 5.0)
"""Pauses before a new try to start: memory or file handles may become free."""
ROOM_BYTES = 1 << 30
"""Address space that a process may use in addition to its size at the start. Added to it: for a large image,
LARGE_PIXEL_BYTES for each of the task's `max_pixels`; for every image, FILE_COPIES times its file."""
LARGE_PIXEL_BYTES = 8
FILE_COPIES = 3
_READY = "ready"
_MAIN = "import sys; sys.path[:] = {path!r}; from commoncanvas.images.decoders import serve; serve({fd})"


class Task(Protocol[T_co]):
    """Processes a file in another process. Raises ImageError."""

    @property
    def max_pixels(self) -> int: ...

    def __call__(self, data: bytes, formats: Sequence[str], large: AbstractContextManager[Any]) -> T_co:
        """`formats`: allowed formats of the file. Work that needs much memory is done inside `large`."""


class Decoders(Generic[T]):
    """Up to `processes` decoding processes, started when needed. Thread-safe: each call uses one process alone."""

    def __init__(self, task: Task[T], processes: int, timeout_s: float = DECODE_SECONDS) -> None:
        large = threading.Lock()
        self._all = [_Decoder(task, timeout_s, large) for _ in range(processes)]
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
    def __init__(self, task: Task[T], timeout_s: float, large: threading.Lock) -> None:
        self._task = task
        self._timeout_s = timeout_s
        self._large = large
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[Any, Any] | None = None

    def __call__(self, data: bytes, formats: Sequence[str], **options: Any) -> T:
        held = False
        pipe = self._pipe or self._start()
        try:
            pipe.send((tuple(formats), len(data), options))
            pipe.send_bytes(data)
            answer = self._answer(pipe)
            if isinstance(answer, _Ask):
                held = self._large.acquire()
                pipe.send(_READY)
                answer = self._answer(pipe)
        except (EOFError, OSError) as error:
            raise ImageError("internal", f"its decoder ended with exit status {self.bury()}") from error
        except BaseException:  # after Ctrl-C, the next file would get this file's answer
            self.bury()
            raise
        finally:
            if held:
                self._large.release()
        if isinstance(answer, _Failure):
            raise ImageError(answer.status, answer.message)
        made: T = answer
        return made

    def _answer(self, pipe: Connection[Any, Any]) -> Any:
        if not pipe.poll(self._timeout_s):
            self.bury()
            raise ImageError("timeout", f"not decoded within {self._timeout_s:g} s")
        return pipe.recv()

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
            code = _MAIN.format(path=sys.path, fd=theirs.fileno())
            command = [sys.executable, "-c", code]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
            self._pipe = pipe = Connection(ours.detach())
        pipe.send((self._task, self._timeout_s + ORPHAN_SECONDS))
        if not pipe.poll(START_SECONDS):
            raise TimeoutError(f"the start takes longer than {START_SECONDS:g} s")
        pipe.recv()
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


class _Ask:
    """A process asks whether it may decode a large image."""


@dataclass(frozen=True)
class _Failure:
    status: str
    message: str


class _Turn:
    """Lets one process at a time decode a large image. The parent holds the lock, even if this process dies."""

    def __init__(self, pipe: Connection[Any, Any], seconds: float, room: _Room, max_pixels: int) -> None:
        self._pipe = pipe
        self._seconds = seconds
        self._room = room
        self._bytes = max_pixels * LARGE_PIXEL_BYTES

    def __enter__(self) -> None:
        _end_after(0)
        self._pipe.send(_Ask())
        self._pipe.recv()
        self._room.allow(self._bytes)
        _end_after(self._seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do nothing: the parent releases the lock when it gets the answer."""


class _Room:
    """Limits this process's memory to its current size plus ROOM_BYTES. A larger allocation fails."""

    def __init__(self) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        self._bytes = pages * resource.getpagesize() + ROOM_BYTES
        self._most = resource.getrlimit(resource.RLIMIT_AS)[1]

    def allow(self, more: int) -> None:
        limit = self._bytes + more
        if self._most != resource.RLIM_INFINITY:
            limit = min(limit, self._most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, self._most))


def serve(fd: int) -> None:
    """The main loop of a decoding process. It ends when the other end of the socket `fd` is closed."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes of a terminal; the parent handles it
    pipe: Connection[Any, Any] = Connection(os.dup(fd))
    os.close(fd)
    with suppress(EOFError, OSError):
        task, seconds = pipe.recv()
        room = _Room()
        turn = _Turn(pipe, seconds, room, task.max_pixels)
        pipe.send(_READY)
        while True:
            _end_after(0)
            formats, size, options = pipe.recv()
            room.allow(FILE_COPIES * size)
            data = pipe.recv_bytes()
            _end_after(seconds)
            answer: Any
            try:
                answer = task(data, formats, turn, **options)
            except ImageError as error:
                answer = _Failure(error.status, str(error))
            except Exception as error:
                # An unexpected error in one of millions of rows must not end every run.
                answer = _Failure("internal", f"{type(error).__name__}: {error}")
            pipe.send(answer)


def _end_after(seconds: float) -> None:
    """End this process after `seconds`; 0: never. The kernel does it, because a hanging decoder may hold the GIL."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
