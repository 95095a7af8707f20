"""Inputs that once ended an import, lost rows in silence, or took the process along."""

from __future__ import annotations

from tests.catalog.fuzzing.writers import as_parquet_of, led_astray
from tests.catalog.yfcc import fields as photo


def _lines(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in lines)


_PHOTO = "\t".join(photo(3).values()).encode()
_COPY = b"identifier\turl\tlicense\tlicense_version\tcreator\ttitle"
_TITLES = (b'"Sunset', b"two", b'"three"', b'4" x 6"', b'"five" and', b"\\N", b"7")
CORPUS: dict[str, tuple[str, bytes]] = {
    "a line with other columns and bytes that are no text": (
        "yfcc100m, dump",
        _lines(_PHOTO, b"few\t\xff", _PHOTO, b"\xfe" * 30),
    ),
    "a title that begins with a mark": (
        "openverse, TSV",
        _lines(
            _COPY,
            *(
                b"\t".join(
                    (b"id%d" % number, b"https://x.example/%d.jpg" % number, b"by", b"4.0", b"Ada", title)
                )
                for number, title in enumerate(
                    (b'"Sunset', b"two", b'"three"', b'4" x 6"', b'"five" and', b"\\N", b"7")
                )
            ),
        ),
    ),
    "a file name of 300 characters": (
        "folder, CSV",
        _lines(b"file,license", b"0.png,CC0", b"x" * 300 + b".png,CC0", b"1.png,CC0"),
    ),
    "a column of keys that is no text": (
        "img2dataset, Parquet",
        as_parquet_of({"key": [b"1"], "url": ["x"]}),
    ),
    "a column that comes twice": (
        "img2dataset, Parquet",
        as_parquet_of({"key": ["1"], "license": ["CC0"], "url": ["x"]}, rename={"license": "url"}),
    ),
    "offsets that lead out of the stream": ("huggingface, Arrow", led_astray()),
}
