"""What depends on the operating system: locks of files, and the limits of a process that decodes images.

Everything works on Linux. macOS does not enforce a limit of memory. Windows lacks timers and locks that the decoding
processes need, so they are refused there (`need_unix`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from commoncanvas.core.errors import PlatformError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl
    import resource

PR_SET_PDEATHSIG = 1
"""From Linux's prctl.h."""


def need_unix(what: str) -> None:
    """Raise PlatformError on Windows; `what` needs Linux or macOS."""
    if sys.platform == "win32":
        raise PlatformError(
            f"{what} needs Linux or macOS; on Windows, run it in WSL (Windows Subsystem for Linux)"
        )


def limits_memory() -> bool:
    """Whether `AddressSpace` has an effect."""
    return sys.platform == "linux"


def try_lock(file: int) -> bool:
    """Lock an open file until it is closed or its process ends; False if another process has locked it.

    On Linux and macOS, children that inherit the handle hold the lock too.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether a process of this machine holds a file's lock (`try_lock`), without trying to take it: a program that
    wants it at this moment would fail. Only Linux tells; elsewhere False.
    """
    name, held = "", [""]
    if sys.platform == "linux":
        try:
            found = path.stat()
            held = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            return False
        name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any("FLOCK" in line and name in line.split() for line in held)


@contextmanager
def locked(file: int) -> Iterator[None]:
    """Wait for the lock of an open file. The kernel releases the lock of a process that dies. Not on Windows."""
    if sys.platform != "win32":
        fcntl.lockf(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN)
    else:
        raise NotImplementedError


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again (XDG Base Directory Specification 0.8)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        caches = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # this user has no home
        caches = Path(tempfile.gettempdir())
    return caches / "commoncanvas"


def nameless_file(name: str) -> BinaryIO:
    """An empty file without a path, to be inherited and locked. On Linux it is in memory, as `name`."""
    if sys.platform == "linux":
        file = os.fdopen(os.memfd_create(name), "wb")
    else:
        file = tempfile.TemporaryFile("wb")  # noqa: SIM115 (its users close it)
    return cast(BinaryIO, file)


def end_after(seconds: float) -> None:
    """End this process by SIGALRM after `seconds`; 0: never. The kernel does it. Not on Windows."""
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        signal.setitimer(signal.ITIMER_REAL, seconds)


def ended_by_time(status: int | None) -> bool:
    """Whether an exit status is that of a process that `end_after` ended."""
    return sys.platform != "win32" and status == -signal.SIGALRM


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends. Only on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class AddressSpace:
    """Limits this process's memory to its current size, plus what `allow` gives. A larger allocation fails.

    Without effect unless `limits_memory`.
    """

    def __init__(self) -> None:
        if sys.platform == "linux":
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            self._bytes = pages * resource.getpagesize()
            self._most = resource.getrlimit(resource.RLIMIT_AS)[1]

    def allow(self, more: int) -> None:
        """Allow `more` bytes instead of what the last call gave."""
        if sys.platform == "linux":
            limit = self._bytes + more
            if self._most != resource.RLIM_INFINITY:
                limit = min(limit, self._most)
            resource.setrlimit(resource.RLIMIT_AS, (limit, self._most))
