"""Processes that decode strangers' images: one that hangs or crashes costs its own image, and threads that wait for
them leave the interpreter to the network.
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
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from commoncanvas.errors import DecoderError
from commoncanvas.images.image import (
    Animated,
    Format,
    ImageError,
    Side,
    encode_image,
    image_columns,
    load,
)

Row = dict[str, Any]

DECODE_SECONDS = 60.0
"""An image that takes longer is given up: a second or two is what the largest allowed one takes."""
ORPHAN_SECONDS = 5.0
"""What has not ended so long after its time ends itself: its parent, which would have killed it, is gone."""
START_SECONDS = 60.0
"""So long it may take to import what decodes."""
START_PAUSES_S = (1.0, 5.0)
"""Memory or files that are short now may not be a moment later."""
_READY = "ready"
_GO = "may I decode a large one?"
_MAIN = "import sys; sys.path[:] = {path!r}; from commoncanvas.images.decoders import serve; serve({fd})"


@dataclass(frozen=True)
class Decode:
    """A file and the formats that it may have -> the image columns of its row. Raises ImageError."""

    size: int
    side: Side
    format: Format
    quality: int
    max_pixels: int
    animated: Animated

    def __call__(self, data: bytes, formats: Sequence[str], large: AbstractContextManager[Any]) -> Row:
        array, header = load(data, self.size, self.side, self.max_pixels, formats, self.animated, large)
        return {
            **image_columns(data, header, array, encode_image(array, self.format, self.quality)),
            "exif_camera": header.camera,
            "exif_taken_at": header.taken_at,
        }


class Decoders:
    """At most `processes` of them, started as they are needed; called from any thread, each call has one to itself."""

    def __init__(self, decode: Decode, processes: int, timeout_s: float = DECODE_SECONDS) -> None:
        large = threading.Lock()
        self._all = [_Decoder(decode, timeout_s, large) for _ in range(processes)]
        self._idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()
        for decoder in reversed(self._all):
            self._idle.put(decoder)

    def __call__(self, data: bytes, formats: Sequence[str]) -> Row:
        """As `Decode`; ImageError also for what takes too long (timeout) or ends its process (internal).

        DecoderError where no process can be started.
        """
        decoder = self._idle.get()
        try:
            return decoder(data, formats)
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """End the processes; what they are at fails. The next call would start new ones."""
        for decoder in self._all:
            decoder.kill()
        idle = [self._idle.get() for _ in self._all]
        for decoder in idle:
            decoder.bury()
            self._idle.put(decoder)


class _Decoder:
    def __init__(self, decode: Decode, timeout_s: float, large: threading.Lock) -> None:
        self._decode = decode
        self._timeout_s = timeout_s
        self._large = large
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[Any, Any] | None = None

    def __call__(self, data: bytes, formats: Sequence[str]) -> Row:
        held = False
        pipe = self._pipe or self._start()
        try:
            pipe.send(tuple(formats))
            pipe.send_bytes(data)
            answer = self._answer(pipe)
            if answer == _GO:
                held = self._large.acquire()
                pipe.send(_GO)
                answer = self._answer(pipe)
        except (EOFError, OSError) as error:
            raise ImageError("internal", f"its decoder ended: exit status {self.bury()}") from error
        finally:
            if held:
                self._large.release()
        if isinstance(answer, tuple):
            raise ImageError(*answer)
        row: Row = answer
        return row

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
        pipe.send((self._decode, self._timeout_s + ORPHAN_SECONDS))
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


class _Turn:
    """Lets one process at a time decode a large image: the other end holds the lock, whatever becomes of this one."""

    def __init__(self, pipe: Connection[Any, Any], seconds: float) -> None:
        self._pipe = pipe
        self._seconds = seconds

    def __enter__(self) -> None:
        _end_after(0)
        self._pipe.send(_GO)
        self._pipe.recv()
        _end_after(self._seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The answer says that it is done."""


def serve(fd: int) -> None:
    """What a process does, until the other end of the socket `fd` is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal; the parent decides
    pipe: Connection[Any, Any] = Connection(os.dup(fd))
    os.close(fd)
    with suppress(EOFError, OSError):
        decode, seconds = pipe.recv()
        turn = _Turn(pipe, seconds)
        pipe.send(_READY)
        while True:
            _end_after(0)
            formats, data = pipe.recv(), pipe.recv_bytes()
            _end_after(seconds)
            answer: Row | tuple[str, str]
            try:
                answer = decode(data, formats, turn)
            except ImageError as error:
                answer = error.status, str(error)
            except Exception as error:
                # One row in millions that does what nobody has thought of must not end the run, each time anew.
                answer = "internal", f"{type(error).__name__}: {error}"
            pipe.send(answer)


def _end_after(seconds: float) -> None:
    """By the kernel, since a decoder that hangs may hold the interpreter's lock; 0: not at all."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
