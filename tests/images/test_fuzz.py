"""Thousands of mutated files of each format, through the one way in: each is accounted for, and no process grows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from commoncanvas.catalog.importing.sources import Report
from commoncanvas.catalog.importing.sources.embedded import Pending, with_images
from commoncanvas.images.tasks import Store
from commoncanvas.table.fetch_status import STATUSES
from tests.images.kinds import Shows, kinds
from tests.images.test_decoders import children

SEED = 2026
MOST_BYTES = 1_000_000_000
SAMPLES = [data for _, data, _ in kinds() if 0 < len(data) < 200_000]
SOUND = [data for _, data, wanted in kinds() if isinstance(wanted, Shows) and len(data) < 200_000]


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Bytes changed, lost, doubled, set to extremes, or taken from another file."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 3, 8, 30))):
        # Often near the begin, where sizes and tables are.
        at = min(draw.randrange(len(changed) + 1), draw.randrange(4 * len(changed) + 1))
        count = draw.choice((1, 2, 4, 16, 200))
        match draw.randrange(7):
            case 0:
                changed[at : at + 1] = draw.randbytes(1)
            case 1:
                del changed[at : at + count]
            case 2:
                changed[at:at] = draw.randbytes(count)
            case 3:
                changed[at : at + 4] = draw.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff")
                )
            case 4:
                changed[at:at] = changed[at : at + count]
            case 5:
                other = draw.choice(SAMPLES)
                begin = draw.randrange(len(other))
                changed[at : at + count] = other[begin : begin + count]
            case 6:
                del changed[draw.randrange(len(changed) // 2, len(changed) + 1) :]
        if not changed:
            return b""
    return bytes(changed)


def most_bytes(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def fuzzed(count: int, samples: list[bytes]) -> Counter[str]:
    draw = random.Random(SEED)

    def pending() -> Iterator[Pending]:
        for number in range(count):
            yield f"row {number}", {"image_id": str(number)}, mutated(draw.choice(samples), draw)

    rows, peak = [], 0
    for row in with_images(pending(), Store(size=64), Report()):
        rows.append(row)
        if len(rows) % 20 == 0:
            peak = max(peak, *map(most_bytes, children()))
    found = Counter(row["fetch_status"] for row in rows)
    print(f"\n{count} files: {dict(found)}; a process had {peak / 1e6:.0f} MB at most")
    assert [row["image_id"] for row in rows] == [str(number) for number in range(count)]
    assert set(found) <= set(STATUSES) - {"internal"}, [
        row for row in rows if row["fetch_status"] == "internal"
    ][:5]
    assert all(("image" in row) == (row["fetch_status"] == "ok") for row in rows)
    assert peak < MOST_BYTES
    return found


def test_two_hundred_mutated_files_are_all_accounted_for() -> None:
    assert len(fuzzed(200, SOUND)) >= 4


@pytest.mark.heavy
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("samples", [SOUND, SAMPLES], ids=["sound", "any"])
def test_five_thousand_mutated_files_are_all_accounted_for(samples: list[bytes]) -> None:
    assert len(fuzzed(5000, samples)) >= 5
