"""The documents beside the shards of an export: credits.csv, README.md and croissant.json."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commoncanvas.catalog.credits import Credit, credits_of_rows, write_credits
from commoncanvas.catalog.export.croissant import CREDITS, croissant
from commoncanvas.catalog.export.data_card import Card
from commoncanvas.catalog.export_folder import CARD, Shard
from commoncanvas.core.console import say
from commoncanvas.core.errors import MissingExtraError
from commoncanvas.core.files import replace_text
from commoncanvas.creators.names import count_names
from commoncanvas.table.table import Catalog

CROISSANT = "croissant.json"


@dataclass(frozen=True)
class Exported:
    """What the shards in a folder contain: `ids` of the rows that meet `condition`. The folder isn't complete yet."""

    catalog: Catalog
    condition: str
    ids: NDArray[np.uint64]
    folder: Path
    format: str
    shards: tuple[Shard, ...]
    left_out: dict[str, int]


Papers = Callable[[Exported, Card], None]
"""Writes documents about the shards into their folder. credits.csv is there already; README.md (CARD) comes last of
those that `cut_off` knows.
"""


def write_papers(exported: Exported, title: str, papers: Papers) -> Card:
    """Write credits.csv, then what `papers` writes."""
    licenses: Counter[str] = Counter()
    creators: Counter[str | None] = Counter()

    def counted(credits: Iterable[Credit]) -> Iterator[Credit]:
        for one in credits:
            licenses[one.license or ""] += 1
            creators[one.creator] += 1
            yield one

    write_credits(counted(credits_of_rows(exported.catalog, exported.ids)), "csv", exported.folder / CREDITS)
    card = Card(
        name=title,
        format=exported.format,
        schema=exported.catalog.schema,
        version=exported.catalog.version,
        rows=len(exported.ids),
        files={shard.name: (shard.bytes, shard.sha256) for shard in exported.shards},
        licenses=dict(licenses.most_common()),
        creators=count_names(creators.elements()),
        left_out=exported.left_out,
    )
    papers(exported, card)
    return card


def card_and_croissant(exported: Exported, card: Card) -> None:
    """Write croissant.json, if mlcroissant is installed, and README.md."""
    files = {CREDITS: described(exported.folder / CREDITS), **card.more.files}
    card = replace(card, more=replace(card.more, files=files))
    try:
        replace_text(exported.folder / CROISSANT, croissant(card))
    except MissingExtraError as error:
        say(f"{CROISSANT} was not written: {error}")
    replace_text(exported.folder / CARD, card.markdown())


def described(path: Path) -> tuple[int, str]:
    """Bytes and sha256 of a file."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
