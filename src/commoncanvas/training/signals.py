"""Stop a run after a step instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals() -> Iterator[list[signal.Signals]]:
    """Collect SIGTERM and SIGINT in a list, so that they don't end the process in the middle of a step.

    The list stays empty outside the main thread, because Python handles signals only there.
    """
    received: list[signal.Signals] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))

    main = threading.current_thread() is threading.main_thread()
    handled = (signal.SIGTERM, signal.SIGINT) if main else ()
    previous = [signal.signal(number, receive) for number in handled]
    try:
        yield received
    finally:
        for number, handler in zip(handled, previous, strict=True):
            signal.signal(number, handler)
