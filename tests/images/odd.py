"""What a decoder may do to its process, as the bytes of the image say."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import ImageError


class Odd:
    max_pixels = 1_000_000

    def __call__(
        self, data: bytes, formats: Sequence[str], large: AbstractContextManager[Any]
    ) -> dict[str, Any]:
        match data.split(b":"):
            case [b"hang"]:
                while True:
                    pass
            case [b"crash"]:
                os.kill(os.getpid(), signal.SIGSEGV)
            case [b"bad"]:
                raise ImageError("truncated", "it ends early")
            case [b"fault"]:
                raise ZeroDivisionError("by zero")
            case [b"take", size]:
                return {"taken": len(bytearray(int(size))), "process": os.getpid()}
            case [b"take with leave", size]:
                with large:
                    return {"taken": len(bytearray(int(size)))}
            case [b"sleep with leave", seconds]:
                with large:
                    time.sleep(float(seconds))
            case [b"large", place, *after]:
                with large:
                    alone = Path(place.decode())
                    alone.touch(exist_ok=False)
                    time.sleep(0.05)
                    alone.unlink()
                    if after:
                        os.kill(os.getpid(), signal.SIGKILL)
        return {"bytes": data, "formats": list(formats), "process": os.getpid()}
