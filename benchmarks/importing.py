"""Import of YFCC100M's dump: rows/s and peak memory, for files of growing length.

python benchmarks/importing.py [--rows 100000 1000000] [--keep DIR]

The lines are made up, in the dump's form and about its length (0.6 KB), all under a licence that is let in; each import
runs in a process of its own, so that its peak is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BLOCK = 20_000
LINE = (
    "{n}\t{p}\t{n:032x}\t{u:08}@N00\tZo%C3%AB+{u}\t2010-05-23 16:29:58.0\t1274700598\tCanon+EOS+40D\t"
    "A+morning+by+the+river%2C+no.+{n}\tFog+over+the+water%3B+more+of+it+in+{u}+other+photos+of+this+series%2C+which+"
    "I+took+before+work.%0AAll+taken+with+one+lens%2C+by+hand.\tfog,river+bank,morning,one%2Ctwo\t\t13.4\t52.5\t16\t"
    "http://www.flickr.com/photos/{u:08}@N00/{p}/\thttp://farm1.staticflickr.com/2/{p}_0123456789.jpg\t"
    "Attribution-NonCommercial License\thttp://creativecommons.org/licenses/by-nc/2.0/\t2\t1\t0123456789\t9876543210\tjpg\t0\n"
)


def lines(rows: int) -> Iterator[str]:
    for start in range(0, rows, BLOCK):
        numbers = range(start, min(rows, start + BLOCK))
        yield "".join(LINE.format(n=n, p=10_000_000 + n, u=n % 99_991) for n in numbers)


def measure(rows: int, folder: Path) -> dict[str, float]:
    dump, catalog = folder / f"dump-{rows}.tsv", folder / f"catalog-{rows}.lance"
    with dump.open("w") as file:
        file.writelines(lines(rows))
    words = ["catalog", "import", "yfcc100m", str(dump), "--catalog", str(catalog), "--json"]
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", "commoncanvas", *words], stdout=subprocess.PIPE)
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    assert status == 0 and json.loads(output)["new"] == rows
    size = dump.stat().st_size
    dump.unlink()
    unit = 1024 if sys.platform != "darwin" else 1
    return {
        "rows_per_s": rows / seconds,
        "mb_per_s": size / seconds / 1e6,
        "peak_mb": usage.ru_maxrss * unit / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--keep", type=Path, help="folder to work in, and leave the catalogs in")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        for rows in chosen.rows:
            figures = measure(rows, chosen.keep or Path(made))
            print(
                f"{rows:>12,} rows   {figures['rows_per_s']:>9,.0f} rows/s   {figures['mb_per_s']:>6.0f} MB/s   "
                f"peak {figures['peak_mb']:>6,.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
