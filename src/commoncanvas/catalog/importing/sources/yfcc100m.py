"""YFCC100M: Flickr photos under Creative Commons licences. It is large, so whole columns are processed at once.

The dump is tab-separated with percent- and plus-encoded text, either plain, .gz or .bz2. The SQLite file that users
make from it can be read too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.catalog.importing.sources.countries import COORDINATES, countries
from commoncanvas.catalog.importing.sources.rights import agree
from commoncanvas.catalog.importing.sources.source import SourceOptions
from commoncanvas.core.errors import SourceError
from commoncanvas.readers.lines import Lines, read_blocks
from commoncanvas.readers.percent import unquote_column
from commoncanvas.readers.sqlite import MAGIC, table_rows
from commoncanvas.table.report import Report
from commoncanvas.table.schema import COUNTRY, SCHEMA

COLUMNS = (
    *("line", "photoid", "hash", "uid", "unickname", "datetaken", "dateuploaded", "capturedevice", "title"),
    *(
        "description",
        "usertags",
        "machinetags",
        "longitude",
        "latitude",
        "accuracy",
        "pageurl",
        "downloadurl",
    ),
    *("licensename", "licenseurl", "serverid", "farmid", "secret", "secretoriginal", "ext", "marker"),
)
"""Columns in the order of the dump. The older form with 23 columns lacks `line` and `hash`."""
OLDER = tuple(name for name in COLUMNS if name not in ("line", "hash"))
READ = (
    *("photoid", "uid", "unickname", "datetaken", "dateuploaded", "capturedevice", "title", "description"),
    *("usertags", "pageurl", "downloadurl", "licensename", "licenseurl", "marker"),
)
"""Columns that rows are made from. OPTIONAL has more: coordinates are read to find the country, and not stored."""
OPTIONAL = ("hash", *COORDINATES)
MIRROR = "https://multimedia-commons.s3-us-west-2.amazonaws.com/data/images"
VIDEO = b"1"

Raw = Mapping[str, pa.BinaryArray]


@dataclass(frozen=True)
class Block:
    """Some rows of the dump, unchanged; `where(i)` names row i in messages."""

    columns: Raw
    where: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.columns["photoid"])


class YFCC100M:
    """One row per photo with a licence that `policy` allows (default: noncommercial); videos are skipped."""

    name = "yfcc100m"
    columns: tuple[pa.Field, ...] = (COUNTRY,)

    def __init__(self, options: SourceOptions) -> None:
        options.only(self.name, "paths", "policy")
        if not options.paths:
            raise SourceError("source yfcc100m needs the dump: catalog import yfcc100m yfcc100m_dataset.bz2")
        self.paths = options.paths
        self.policy = licenses.Policy(options.policy or licenses.Policy.NONCOMMERCIAL)

    def batches(self, report: Report) -> Iterator[pa.RecordBatch]:
        for path in self.paths:
            for block in _blocks(path, report):
                if len(block):  # some of its rows could be read
                    yield self._rows(block, report)

    def _rows(self, block: Block, report: Report) -> pa.RecordBatch:
        raw = block.columns
        text = {name: unquote_column(raw[name]) for name in READ if name != "usertags"}
        keep = np.ones(len(block), bool)

        def drop(reason: str, bad: NDArray[np.bool_], detail: str) -> None:
            rows = np.flatnonzero(keep & bad)
            keep[rows] = False
            named = (
                (block.where(row), f"{detail} {text[detail][row].as_py()!r:.100}") for row in rows.tolist()
            )
            report.skip_many(reason, len(rows), named)

        drop("no photo id", ~_matches(text["photoid"], r"^\d{1,20}$"), "photoid")
        drop("video", _mask(pc.equal(raw["marker"], VIDEO)), "photoid")
        drop("no web address", ~_matches(text["downloadurl"], r"^https?://\S+$"), "downloadurl")
        found, clashing, index = _licenses(text["licenseurl"], text["licensename"])
        drop("unknown licence", np.array([not one.known for one in found])[index], "licensename")
        drop("contradictory licences", np.array(clashing, bool)[index], "licensename")
        refused = np.array([not licenses.allows(one, self.policy) for one in found])[index]
        drop(f"licence not allowed for {self.policy.value} models", refused, "licensename")
        creator = pc.coalesce(_set(text["unickname"]), _set(text["uid"]))
        demanded = np.array([one.attribution for one in found])[index]
        drop("no creator", _mask(pc.is_null(creator)) & demanded, "unickname")

        made = self._columns(raw, text, [found[place] for place in index] if len(index) else [], creator)
        every = [made.get(field.name, pa.nulls(len(block), field.type)) for field in SCHEMA]
        batch = pa.RecordBatch.from_arrays(every, schema=SCHEMA).filter(pa.array(keep))
        return batch.append_column(COUNTRY, _countries(raw, keep, report))

    def _columns(
        self,
        raw: Raw,
        text: dict[str, pa.StringArray],
        license: list[licenses.License],
        creator: pa.StringArray,
    ) -> dict[str, pa.Array]:
        ids, uid = text["photoid"], _set(text["uid"])
        people = pc.binary_join_element_wise("https://www.flickr.com/people/", uid, "/", "")
        pages = pc.binary_join_element_wise("https://www.flickr.com/photos/", uid, "/", ids, "/", "")
        page = _set(text["pageurl"])
        columns = {
            "image_id": pc.binary_join_element_wise("flickr:", ids, ""),
            "source": pa.array(["flickr"] * len(ids)),
            "source_id": ids,
            "page_url": pc.if_else(pa.array(_matches(text["pageurl"], r"^https?://\S+$")), page, pages),
            "image_url": text["downloadurl"],
            "license": pa.array([one.id for one in license], pa.string()),
            "license_url": pa.array([one.url for one in license], pa.string()),
            "creator": creator,
            "creator_url": people,
            "title": _set(text["title"]),
            "description": _set(text["description"]),
            "tags": _tags(raw["usertags"]),
            "camera": _set(text["capturedevice"]),
            "taken_at": _taken(text["datetaken"]),
            "uploaded_at": _uploaded(text["dateuploaded"]),
        }
        if "hash" in raw:
            columns["image_url_2"] = _mirror(unquote_column(raw["hash"]))
        return columns


def _blocks(path: Path, report: Report) -> Iterator[Block]:
    try:
        with path.open("rb") as file:
            database = file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror or error}") from error
    yield from _database(path, report) if database else _dump(path, report)


def _dump(path: Path, report: Report) -> Iterator[Block]:
    names: tuple[str, ...] | None = None
    for lines in read_blocks(path, report):
        names = names or _form(path, lines)
        yield _parse(path, lines, names, report)


def _form(path: Path, lines: Lines) -> tuple[str, ...]:
    """Which of the two forms most of the first lines have."""
    tabs = [line.count(b"\t") for line in lines.data[: 1 << 20].split(b"\n")[:101] if line]
    usual = max(set(tabs), key=tabs.count, default=0)
    for names in (COLUMNS, OLDER):
        if usual == len(names) - 1:
            return names
    raise SourceError(
        f"{path} has {usual + 1} tab-separated columns, but YFCC100M has 25 (or 23 in its older form); "
        "give yfcc100m_dataset or the SQLite file made from it"
    )


def _parse(path: Path, lines: Lines, names: tuple[str, ...], report: Report) -> Block:
    data = lines.data
    if b"\r" in data:  # pyarrow would end the line there
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b" ")
    try:
        table = _read(data, names)
        numbers = np.arange(lines.first, lines.first + len(table))
    except pa.ArrowInvalid:
        # A line has a wrong number of columns. Arrow can't name the line if it has bytes that aren't UTF-8.
        written = data.removesuffix(b"\n").split(b"\n")
        counts = np.array([line.count(b"\t") + 1 if line else len(names) for line in written])
        for row in np.flatnonzero(counts != len(names)).tolist():
            where = f"{path.name}:{lines.first + row}"
            report.skip(where, "wrong number of columns", f"{counts[row]} instead of {len(names)}")
        fitting = np.flatnonzero(counts == len(names))
        numbers = lines.first + fitting
        table = _read(b"".join(written[row] + b"\n" for row in fitting.tolist()), names)
    table = table.combine_chunks()  # no copy if there is only one chunk
    columns = {
        name: table[name].chunk(0) if len(table) else pa.array([], pa.binary()) for name in table.column_names
    }
    return Block(columns, lambda row: f"{path.name}:{numbers[row]}")


def _read(data: bytes, names: tuple[str, ...]) -> pa.Table:
    """Parse lines with the columns `names`; keep the used ones. Raises ArrowInvalid if a line has more or fewer."""
    import pyarrow.csv

    wanted = [name for name in names if name in (*READ, *OPTIONAL)]
    if not data:
        return pa.table({name: pa.array([], pa.binary()) for name in wanted})
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(
            column_names=names, use_threads=False, block_size=max(1024, len(data) + 1)
        ),
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.binary() for name in names}, include_columns=wanted
        ),
    )


def _database(path: Path, report: Report) -> Iterator[Block]:
    for table, names, rows in table_rows(path, READ, OPTIONAL, "YFCC100M's", report):
        numbers, *columns = zip(*rows, strict=True)
        yield Block(
            {name: _binary(values) for name, values in zip(names, columns, strict=True)},
            lambda row, numbers=numbers, table=table: f"{path.name}:{table}:{numbers[row]}",  # type: ignore[misc]
        )


def _binary(values: Any) -> pa.BinaryArray:
    """SQLite values of any type, as the dump would write them."""
    return pa.array(
        [
            value if isinstance(value, bytes) else b"" if value is None else str(value).encode()
            for value in values
        ],
        pa.binary(),
    )


def _licenses(
    urls: pa.StringArray, names: pa.StringArray
) -> tuple[list[licenses.License], list[bool], NDArray[np.int64]]:
    """The different licences, whether name and address contradict each other, and the index of each row's licence."""
    pairs = pc.binary_join_element_wise(urls, names, "\n").dictionary_encode()
    found, clashing = [], []
    for pair in pairs.dictionary.to_pylist():
        url, name = pair.split("\n", 1)
        by_url, by_name = licenses.parse(url), licenses.parse(name, source="yfcc")
        found.append(by_url if by_url.known else by_name)
        both = by_url.known and by_name.known
        clashing.append(
            not agree(by_url, by_name)
            if both
            else any(
                one.known and text and licenses.may_object(text, one)
                for one, text in ((by_url, name), (by_name, url))
            )
        )
    return found, clashing, np.asarray(pairs.indices.to_numpy(zero_copy_only=False), np.int64)


def _mirror(hashes: pa.StringArray) -> pa.StringArray:
    """Address of the photo's copy at the Multimedia Commons."""
    good = pa.array(_matches(hashes, "^[0-9a-f]{32}$"))
    first, second = (pc.utf8_slice_codeunits(hashes, start, start + 3) for start in (0, 3))
    made = pc.binary_join_element_wise(
        MIRROR, first, second, pc.binary_join_element_wise(hashes, "jpg", "."), "/"
    )
    return pc.if_else(good, made, pa.scalar(None, pa.string()))


def _tags(column: pa.BinaryArray) -> pa.ListArray:
    """Split tags at their unencoded commas first, then decode each tag."""
    lists = pc.split_pattern(column, ",").cast(pa.list_(pa.binary()))
    tags = pa.ListArray.from_arrays(lists.offsets, unquote_column(lists.values))
    return pc.if_else(pc.equal(pc.binary_length(column), 0), pa.scalar(None, tags.type), tags)


def _taken(column: pa.StringArray) -> pa.TimestampArray:
    """Parse `2010-05-23 16:29:58.0`. Flickr states no time zone, so it counts as UTC."""
    seconds = pc.utf8_slice_codeunits(column, 0, 19)
    parsed = pc.strptime(seconds, format="%Y-%m-%d %H:%M:%S", unit="us", error_is_null=True)
    return pc.assume_timezone(parsed, "UTC")


def _uploaded(column: pa.StringArray) -> pa.TimestampArray:
    """Parse seconds since 1970."""
    digits = pc.if_else(pa.array(_matches(column, r"^\d{1,11}$")), column, pa.scalar(None, pa.string()))
    return pc.multiply(digits.cast(pa.int64()), 1_000_000).cast(pa.timestamp("us", tz="UTC"))


def _countries(raw: Raw, keep: NDArray[np.bool_], report: Report) -> pa.StringArray:
    """Countries of the rows to keep. Only rows with coordinates are searched, since many have none."""
    if not set(COORDINATES) <= set(raw):
        return pa.nulls(int(keep.sum()), pa.string())
    longitude, latitude = (raw[name].filter(pa.array(keep)) for name in COORDINATES)
    placed = np.flatnonzero(_mask(pc.not_equal(longitude, b"")))
    if not len(placed):
        return pa.nulls(len(longitude), pa.string())
    found = countries(_degrees(longitude.take(placed)), _degrees(latitude.take(placed)), report)
    index = np.full(len(longitude), -1)
    index[placed] = np.arange(len(placed))
    return found.take(pa.array(index, mask=index < 0))


def _degrees(column: pa.BinaryArray) -> NDArray[np.float64]:
    """Numbers as float; NaN for anything else."""
    number = pc.match_substring_regex(column, r"^-?[0-9]{1,3}(\.[0-9]{1,30})?$")
    written = pc.if_else(number, column, pa.scalar(None, pa.binary())).cast(pa.string())
    return np.asarray(written.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _set(column: pa.StringArray) -> pa.StringArray:
    """Trim whitespace; empty texts become null."""
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def _matches(column: pa.StringArray, pattern: str) -> NDArray[np.bool_]:
    return _mask(pc.match_substring_regex(column, pattern))


def _mask(column: pa.BooleanArray) -> NDArray[np.bool_]:
    return np.asarray(column.fill_null(False).to_numpy(zero_copy_only=False), bool)
