"""Import of YFCC100M's dump: rows/s and peak memory, for files of growing length.

python benchmarks/importing.py [--rows 100000 1000000] [--places 0.5] [--keep DIR]

The lines are made up, in the dump's form and about its length (0.6 KB), all under a licence that is let in; each import
runs in a process of its own, so that its peak is its own. `--places` is the share of the lines with coordinates (of
YFCC100M's, about half), strewn around large cities, many by the sea.
"""

from __future__ import annotations

import argparse
import json
import os
import random
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
    "I+took+before+work.%0AAll+taken+with+one+lens%2C+by+hand.\tfog,river+bank,morning,one%2Ctwo\t\t{place}\t16\t"
    "http://www.flickr.com/photos/{u:08}@N00/{p}/\thttp://farm1.staticflickr.com/2/{p}_0123456789.jpg\t"
    "Attribution-NonCommercial License\thttp://creativecommons.org/licenses/by-nc/2.0/\t2\t1\t0123456789\t9876543210\tjpg\t0\n"
)
CITIES = (
    *(
        (-0.13, 51.51),
        (2.35, 48.86),
        (13.4, 52.52),
        (12.49, 41.9),
        (4.9, 52.37),
        (-3.7, 40.42),
        (18.07, 59.33),
    ),
    *((-74.0, 40.71), (-122.42, 37.77), (-118.24, 34.05), (-87.63, 41.88), (-79.38, 43.65), (-123.12, 49.28)),
    *((139.69, 35.69), (121.56, 25.03), (114.17, 22.32), (103.85, 1.29), (100.5, 13.76), (77.21, 28.61)),
    *((151.21, -33.87), (174.76, -36.85), (18.42, -33.92), (36.82, -1.29), (31.24, 30.04), (28.98, 41.01)),
    *((-43.2, -22.91), (-58.38, -34.6), (-99.13, 19.43), (-157.86, 21.31), (-21.94, 64.15)),
)
"""Longitude and latitude, degrees."""


def places(rows: int, share: float) -> Iterator[str]:
    chance = random.Random(5)
    for _ in range(rows):
        longitude, latitude = chance.choice(CITIES)
        at = chance.gauss(longitude, 0.3), chance.gauss(latitude, 0.3)
        yield f"{at[0]:.6f}\t{at[1]:.6f}" if chance.random() < share else "\t"


def lines(rows: int, share: float) -> Iterator[str]:
    place = places(rows, share)
    for start in range(0, rows, BLOCK):
        numbers = range(start, min(rows, start + BLOCK))
        yield "".join(LINE.format(n=n, p=10_000_000 + n, u=n % 99_991, place=next(place)) for n in numbers)


def measure(rows: int, share: float, folder: Path) -> dict[str, float]:
    dump, catalog = folder / f"dump-{rows}.tsv", folder / f"catalog-{rows}.lance"
    with dump.open("w") as file:
        file.writelines(lines(rows, share))
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
    parser.add_argument("--places", type=float, default=0.5)
    parser.add_argument("--keep", type=Path, help="folder to work in, and leave the catalogs in")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        for rows in chosen.rows:
            figures = measure(rows, chosen.places, chosen.keep or Path(made))
            print(
                f"{rows:>12,} rows   {figures['rows_per_s']:>9,.0f} rows/s   {figures['mb_per_s']:>6.0f} MB/s   "
                f"peak {figures['peak_mb']:>6,.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
