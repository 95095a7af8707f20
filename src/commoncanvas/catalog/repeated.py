"""Find files that many addresses gave: servers send the same placeholder for all removed images."""

from __future__ import annotations

import shlex

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas.core.console import say
from commoncanvas.table.sql import listed
from commoncanvas.table.table import Catalog

MANY = 5
"""A file from this many different addresses counts as a placeholder."""
NAMED = 3
FETCHED = "fetch_status = 'ok' AND sha256 IS NOT NULL AND image_url LIKE 'http%'"


def repeated(catalog: Catalog) -> dict[str, int]:
    """sha256 -> number of different web addresses that gave this file, if MANY or more; most first.

    It makes two passes. Memory: 8 bytes per fetched row, and the addresses of such files.
    """
    begins = [_begins(batch["sha256"]) for batch in catalog.scan(["sha256"], FETCHED, batch_size=1 << 16)]
    values, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *begins]), return_counts=True)
    suspects = values[counts >= MANY]
    addresses: dict[str, set[str]] = {}
    if len(suspects):
        for batch in catalog.scan(["sha256", "image_url"], FETCHED, batch_size=1 << 16):
            chosen = batch.filter(pa.array(np.isin(_begins(batch["sha256"]), suspects)))
            for file, address in zip(*(column.to_pylist() for column in chosen.columns), strict=True):
                addresses.setdefault(file, set()).add(address)
    found = {file: len(each) for file, each in addresses.items() if len(each) >= MANY}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def without_repeated(found: dict[str, int]) -> str:
    """SQL for the rows that have none of these files."""
    return f"sha256 IS NULL OR sha256 NOT IN ({listed(sorted(found))})"


def say_repeated(catalog: Catalog) -> None:
    """Warn about such files, and say how to look at them."""
    found = repeated(catalog)
    for file, count in list(found.items())[:NAMED]:
        say(
            f"{count:,} addresses gave the same file, probably a placeholder for removed images; curate leaves it out; "
            f"to see it: commoncanvas catalog show --catalog {shlex.quote(catalog.uri)} --where \"sha256 = '{file}'\"",
            title="fetch:",
        )
    if len(found) > NAMED:
        say(
            f"for {len(found) - NAMED:,} more files, {MANY} or more addresses gave the same file",
            title="fetch:",
        )


def _begins(digests: pa.Array) -> NDArray[np.uint64]:
    """The first 64 bits of [N] digests in hexadecimal."""
    text = "".join(pc.utf8_slice_codeunits(digests, 0, 16).to_pylist())
    return np.frombuffer(bytes.fromhex(text), ">u8").astype(np.uint64)
