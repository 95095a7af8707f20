"""The credits of a release: credits.csv again as Parquet, and a page that searches them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from commoncanvas.catalog.credits import FIELDS
from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line, text_of_cell
from commoncanvas.pages.credits_search import write_credits_page
from commoncanvas.release.check import CREDITS

PARQUET = "credits.parquet"
BLOCK = 4 << 20
"""Bytes that are read at once."""


def write_credits(out: Path, name: str, object_at: str | None) -> None:
    """Write credits.parquet and the page from `out`/credits.csv. Raises ModelError if that can't be read."""
    try:
        _write_parquet(out / CREDITS, out / PARQUET)
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise ModelError(f"{out / CREDITS} can't be read as credits: {one_line(error)}") from error
    write_credits_page(out / PARQUET, out, name, object_at)


def _write_parquet(source: Path, target: Path) -> None:
    """credits.csv as Parquet: the same columns, without what protects spreadsheets from formulas."""
    names = [*FIELDS, "credit"]
    schema = pa.schema([(each, pa.string()) for each in names])
    partial = target.with_name(f".{target.name}.part")
    reader = pc_csv.open_csv(
        source,
        read_options=pc_csv.ReadOptions(block_size=BLOCK),
        parse_options=pc_csv.ParseOptions(newlines_in_values=True),
        convert_options=pc_csv.ConvertOptions(
            column_types=schema, include_columns=names, strings_can_be_null=True, null_values=[""]
        ),
    )
    with pq.ParquetWriter(partial, schema, compression="zstd") as file:
        for batch in reader:
            columns = [_unprotected(column) for column in batch.columns]
            file.write_batch(pa.record_batch(columns, schema=schema))
    partial.replace(target)


def _unprotected(column: pa.Array) -> pa.Array:
    """The inverse of `core.text.cell`. Only cells with an apostrophe can be protected."""
    if not pc.any(pc.match_substring(column, "'")).as_py():
        return column
    cells = column.to_pylist()
    return pa.array([cell and text_of_cell(cell) for cell in cells], pa.string())
