"""`python -m tests.catalog.fuzzing SEED COUNT`: so many inputs, what went wrong, and the peak of the memory."""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from tests.catalog.fuzzing.kinds import KINDS, attack


def main(seed: int, count: int) -> dict[str, Any]:
    """Run `count` inputs of all kinds in turn."""
    wrong = []
    names = list(KINDS)
    for number in range(count):
        name = names[number % len(names)]
        with tempfile.TemporaryDirectory() as folder:
            try:
                attack(name, seed + number, Path(folder))
            except Exception:
                wrong.append(f"attack({name!r}, {seed + number}): {traceback.format_exc(limit=-3)}")
    return {"wrong": wrong, "peak_kb": peak_kb(), "runs": count}


def peak_kb() -> int:
    """Of this process alone; what `getrusage` says begins with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
