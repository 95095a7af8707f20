"""A sweep that waits after each image: `python -m tests.evaluation.killable_sweep MODEL OUT`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from commoncanvas.evaluation.sweeps import work
from commoncanvas.evaluation.sweeps.command import sweep
from commoncanvas.options.evaluate import SweepOptions

OPTIONS = SweepOptions(guidance_scales=(1.0, 2.0), steps=(1,))

if __name__ == "__main__":
    write = work.replace_bytes

    def slowly(path: Path, data: bytes) -> None:
        write(path, data)
        time.sleep(0.2)

    work.replace_bytes = slowly  # type: ignore[assignment]
    sweep(sys.argv[1], OPTIONS, out=sys.argv[2], device="cpu")
