"""Look-up among a million rows: milliseconds a file, how often the right row is found, how often a wrong one.

Run: python benchmarks/lookup.py [--rows 1000000] [--queries 100] [--strangers 400]. Needs the extras train and xs,
whose packages bring the real pictures (OpenMoji's drawings, tiles of three photos); most others are generated ("dead
leaves": discs over each other, with the statistics of photos; Lee, Mumford, Huang, IJCV 2001). The baseline is pHash
alone: the nearest of all hashes, if it is within 10 bits.

The thresholds of catalog/pictures.py and catalog/overlay.py were chosen on one half of OpenMoji's drawings, and on
the photo tiles and dead leaves; the drawings asked for here are of the other half. The halves are by a hash of the name
without its skin tone, so that sisters are in one half. Some of OpenMoji's drawings have several names; a stranger that
is, pixel by pixel, in the table under another name is counted apart, as to find that is right.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import lance
import matplotlib
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from commoncanvas.catalog import Catalog, import_, lookup
from commoncanvas.catalog.importing.sources.openmoji import SKIN_TONES
from commoncanvas.catalog.local_images import read_drawing
from commoncanvas.images.image import encode_image, load, phash
from commoncanvas.table.schema import SCHEMA, to_batch

Picture = NDArray[np.uint8]


def leaves(seed: int, size: int = 256) -> Picture:
    draw = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size))
    pen = ImageDraw.Draw(image)
    # Radii by the power law r^-3 between 4 and 128 pixels, later discs over earlier ones.
    radii = 1 / np.sqrt(draw.uniform(1 / 128**2, 1 / 4**2, 1500))
    for radius, x, y in zip(radii, *draw.uniform(0, size, (2, 1500)), strict=True):
        colour = tuple(draw.integers(0, 256, 3).tolist())
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return np.asarray(image)


def tiles() -> Iterator[Picture]:
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    for photo in (*load_sample_images().images, load(hopper.read_bytes(), 1000)[0]):
        for y in range(0, photo.shape[0] - 139, 140):
            for x in range(0, photo.shape[1] - 139, 140):
                yield np.ascontiguousarray(photo[y : y + 140, x : x + 140])


def drawings() -> list[Picture]:
    """Those that no threshold was chosen on."""
    with tempfile.TemporaryDirectory() as folder:
        import_("openmoji", f"{folder}/openmoji.lance")
        urls = Catalog.open(f"{folder}/openmoji.lance").table(["image_url"])["image_url"].to_pylist()
    return [load(read_drawing(url), 512)[0] for url in sorted(urls) if not tuned_on(Path(url).stem)]


def tuned_on(hexcode: str) -> bool:
    plain = "-".join(part for part in hexcode.split("-") if part not in {*SKIN_TONES, "FE0F"})
    return hashlib.sha256(f"half:{plain}".encode()).digest()[0] < 128


def resized(picture: Picture, factor: float) -> Picture:
    height, width = picture.shape[:2]
    return np.asarray(Image.fromarray(picture).resize((round(width * factor), round(height * factor))))


def cropped(picture: Picture, left: float, top: float, right: float, bottom: float) -> Picture:
    height, width = picture.shape[:2]
    return picture[
        round(top * height) : height - round(bottom * height),
        round(left * width) : width - round(right * width),
    ]


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "recompressed at quality 60": lambda picture: picture,
    "halved": lambda picture: resized(picture, 0.5),
    "cropped by 5 %, 1.25 % a side": lambda picture: cropped(picture, 0.0125, 0.0125, 0.0125, 0.0125),
    "cropped by 5 % of width and height": lambda picture: cropped(picture, 0.025, 0.025, 0.025, 0.025),
    "the same, all at one corner": lambda picture: cropped(picture, 0.05, 0.05, 0, 0),
}


def row(name: str, picture: Picture, original: bytes) -> dict[str, object]:
    height, width = picture.shape[:2]
    return {
        "image_id": name,
        "source": "benchmark",
        "creator": f"maker of {name}",
        "license": "CC-BY-4.0",
        "page_url": f"https://example.org/{name}",
        "image": encode_image(picture, "jpeg"),
        "width": width,
        "height": height,
        "original_width": width,
        "original_height": height,
        "sha256": hashlib.sha256(original).hexdigest(),
        "phash": phash(picture),
        "fetch_status": "ok",
    }


def crowd(rows: int) -> Iterator[pa.RecordBatch]:
    """Generated rows: hashes as pHash makes them, each with a small real image to be compared with."""
    draw = np.random.default_rng(1)
    pool = [encode_image(resized(leaves(10_000 + n), 1 / 16), "webp", 60) for n in range(64)]
    for start in range(0, rows, 4096):
        count = min(4096, rows - start)
        numbers = draw.standard_normal((count, 64), np.float32)
        bits = numbers > np.median(numbers, axis=1, keepdims=True)
        hashes = np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)
        columns = {
            "image_id": [f"crowd:{start + n}" for n in range(count)],
            "source": ["crowd"] * count,
            "page_url": [f"https://example.org/crowd/{start + n}" for n in range(count)],
            "image": [pool[n] for n in draw.integers(0, len(pool), count)],
            "sha256": [draw.bytes(32).hex() for _ in range(count)],
            "phash": hashes,
            "fetch_status": ["ok"] * count,
        }
        arrays = [
            pa.array(columns[field.name], field.type)
            if field.name in columns
            else pa.nulls(count, field.type)
            for field in SCHEMA
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def jpeg(picture: Picture) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=60)
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100, help="of each kind of picture and change")
    parser.add_argument("--strangers", type=int, default=400, help="pictures that are not in the table")
    arguments = parser.parse_args()
    draws = drawings()
    kinds = {
        "photo tiles": list(tiles()),
        "dead leaves": [leaves(n) for n in range(arguments.queries)],
        "drawings": draws[::2],
    }
    with tempfile.TemporaryDirectory() as folder:
        uri = f"{folder}/catalog.lance"
        lance.write_dataset(crowd(arguments.rows), uri, schema=SCHEMA, enable_stable_row_ids=True)
        catalog = Catalog.open(uri)
        for kind, pictures in kinds.items():
            catalog.add(
                [
                    to_batch(
                        row(f"{kind}:{n}", one, encode_image(one, "png")) for n, one in enumerate(pictures)
                    )
                ]
            )
        file = Path(folder) / "query.jpg"
        began = time.perf_counter()
        file.write_bytes(jpeg(kinds["photo tiles"][0]))
        lookup(catalog, file)
        print(
            f"{len(catalog):,} rows; the first look-up, with its index, took {time.perf_counter() - began:.1f} s"
        )

        hashes = catalog.table(["phash"])["phash"].to_numpy()
        names = catalog.table(["image_id"])["image_id"].to_pylist()
        times: list[float] = []
        for kind, pictures in kinds.items():
            step = max(1, len(pictures) // arguments.queries)
            for change, make in CHANGES.items():
                found = first = alone = asked = 0
                for n, picture in list(enumerate(pictures))[::step]:
                    file.write_bytes(jpeg(make(picture)))
                    began = time.perf_counter()
                    matches = lookup(catalog, file).matches
                    times.append(time.perf_counter() - began)
                    ids = [match.credit.image_id for match in matches]
                    asked += 1
                    found += f"{kind}:{n}" in ids
                    first += ids[:1] == [f"{kind}:{n}"]
                    apart = np.bitwise_count(hashes ^ np.uint64(phash(load(file.read_bytes(), 512)[0])))
                    nearest = int(apart.argmin())
                    alone += apart[nearest] <= 10 and names[nearest] == f"{kind}:{n}"
                print(
                    f"{kind}, {change}: found {found / asked:.3f} of {asked}, as the first {first / asked:.3f}; "
                    f"pHash alone {alone / asked:.3f}"
                )
        print(
            f"one look-up: median {1e3 * statistics.median(times):.0f} ms, "
            f"99th percentile {1e3 * float(np.percentile(times, 99)):.0f} ms, of {len(times):,}"
        )

        present = {hashlib.sha256(picture).digest() for picture in draws[::2]}
        strangers: dict[str, Iterable[Picture]] = {
            "dead leaves": (leaves(100_000 + n) for n in range(arguments.strangers)),
            "drawings, whose sisters may be in the table,": draws[1::2][: arguments.strangers],
        }
        for kind, others in strangers.items():
            wrong = asked = twins = 0
            for picture in others:
                if hashlib.sha256(picture).digest() in present:
                    twins += 1
                    continue
                file.write_bytes(jpeg(picture))
                wrong += bool(lookup(catalog, file).matches)
                asked += 1
            print(
                f"{kind} that are not in the table: {wrong} of {asked:,} matched something; "
                f"{twins} others are in it under another name"
            )

        exact = Path(folder) / "exact.png"
        exact.write_bytes(encode_image(kinds["photo tiles"][0], "png"))
        for what, asked_for in {
            "exact file": exact,
            "image_id": "crowd:777",
            "URL": "https://example.org/crowd/777",
        }.items():
            taken = []
            for _ in range(7):
                began = time.perf_counter()
                assert lookup(catalog, asked_for).total == 1, what
                taken.append(time.perf_counter() - began)
            print(f"by {what}: median {1e3 * statistics.median(taken):.0f} ms")


if __name__ == "__main__":
    main()
