"""Processes that decode strangers' images: one that hangs or crashes costs its own image, and threads that wait for
them leave the interpreter to the network.
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
"""An image that takes longer is given up: a second or two is what the largest allowed one takes."""
ORPHAN_SECONDS = 5.0
"""What has not ended so long after its time ends itself: its parent, which would have killed it, is gone."""
START_SECONDS = 60.0
"""So long it may take to import what decodes."""
START_PAUSES_S = (1.0, 5.0)
"""Memory or files that are short now may not be a moment later."""
ROOM_BYTES = 1 << 30
"""Address space that a process may take beyond what it starts with; a large image has LARGE_PIXEL_BYTES more for each
of the task's `max_pixels`, and every one FILE_COPIES times its file."""
LARGE_PIXEL_BYTES = 8
FILE_COPIES = 3
_READY = "ready"
_MAIN = "import sys; sys.path[:] = {path!r}; from commoncanvas.images.decoders import serve; serve({fd})"


class Task(Protocol[T_co]):
    """What is done with a file, in another process. Raises ImageError."""

    @property
    def max_pixels(self) -> int: ...

    def __call__(self, data: bytes, formats: Sequence[str], large: AbstractContextManager[Any]) -> T_co:
        """`formats` are what the file may be; what takes much memory is done inside `large`."""


class Decoders(Generic[T]):
    """At most `processes` of them, started as they are needed; called from any thread, each call has one to itself."""

    def __init__(self, task: Task[T], processes: int, timeout_s: float = DECODE_SECONDS) -> None:
        large = threading.Lock()
        self._all = [_Decoder(task, timeout_s, large) for _ in range(processes)]
        self._idle: queue.LifoQueue[_Decoder[T]] = queue.LifoQueue()
        self._closing = threading.Lock()
        for decoder in reversed(self._all):
            self._idle.put(decoder)

    def __call__(self, data: bytes, formats: Sequence[str], **said: Any) -> T:
        """As the task, which is told what is `said` of this file; ImageError also for what takes too long (timeout) or
        ends its process (internal).

        DecoderError where no process can be started.
        """
        decoder = self._idle.get()
        try:
            return decoder(data, formats, **said)
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """End the processes; what they are at fails. The next call would start new ones."""
        for decoder in self._all:
            decoder.kill()
        with self._closing:  # two that each had half of them would wait for each other
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

    def __call__(self, data: bytes, formats: Sequence[str], **said: Any) -> T:
        held = False
        pipe = self._pipe or self._start()
        try:
            pipe.send((tuple(formats), len(data), said))
            pipe.send_bytes(data)
            answer = self._answer(pipe)
            if isinstance(answer, _Ask):
                held = self._large.acquire()
                pipe.send(_READY)
                answer = self._answer(pipe)
        except (EOFError, OSError) as error:
            raise ImageError("internal", f"its decoder ended: exit status {self.bury()}") from error
        except BaseException:  # Ctrl-C: its answer would be taken for that of the next file
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
                    said = f"exit status {status}" if ended else getattr(error, "strerror", None) or error
                    raise DecoderError(
                        f"no process that decodes images can be started: {said}; "
                        "free memory or allow more open files (ulimit -n), or use fewer --workers, and run it again"
                    ) from error
            time.sleep(pause)
        raise AssertionError

    def _started(self) -> Connection[Any, Any]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            # Not by multiprocessing, which would run the user's main module once more.
            code = _MAIN.format(path=sys.path, fd=theirs.fileno())
            command = [sys.executable, "-c", code]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
            self._pipe = pipe = Connection(ours.detach())
        pipe.send((self._task, self._timeout_s + ORPHAN_SECONDS))
        if not pipe.poll(START_SECONDS):
            raise TimeoutError(f"it takes longer than {START_SECONDS:g} s")
        pipe.recv()
        return pipe

    def kill(self) -> None:
        """From any thread; whoever waits for an answer sees that there is none."""
        if self._process:
            self._process.kill()

    def bury(self) -> int | None:
        """Kill it, and forget it; its exit status. The next call starts another."""
        self.kill()
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if pipe:
            pipe.close()
        return process.wait() if process else None


class _Ask:
    """May I decode a large one?"""


@dataclass(frozen=True)
class _Failure:
    status: str
    message: str


class _Turn:
    """Lets one process at a time decode a large image: the other end holds the lock, whatever becomes of this one."""

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
        """The answer says that it is done."""


class _Room:
    """This process's memory: what it has now, and ROOM_BYTES more. An allocation beyond that fails."""

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
    """What a process does, until the other end of the socket `fd` is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal; the parent decides
    pipe: Connection[Any, Any] = Connection(os.dup(fd))
    os.close(fd)
    with suppress(EOFError, OSError):
        task, seconds = pipe.recv()
        room = _Room()
        turn = _Turn(pipe, seconds, room, task.max_pixels)
        pipe.send(_READY)
        while True:
            _end_after(0)
            formats, size, said = pipe.recv()
            room.allow(FILE_COPIES * size)
            data = pipe.recv_bytes()
            _end_after(seconds)
            answer: Any
            try:
                answer = task(data, formats, turn, **said)
            except ImageError as error:
                answer = _Failure(error.status, str(error))
            except Exception as error:
                # One row in millions that does what nobody has thought of must not end the run, each time anew.
                answer = _Failure("internal", f"{type(error).__name__}: {error}")
            pipe.send(answer)


def _end_after(seconds: float) -> None:
    """By the kernel, since a decoder that hangs may hold the interpreter's lock; 0: not at all."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
