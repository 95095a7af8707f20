"""What the documents say of the training data: counted once from the catalogs, or from rows.parquet without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas import licenses
from commoncanvas.catalog import Catalog
from commoncanvas.catalog.import_records import ImportRecord, import_records
from commoncanvas.catalog.status_counts import status_counts
from commoncanvas.core.console import say
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import clean, one_line
from commoncanvas.models.card import UNKNOWN
from commoncanvas.provenance.markdown import last_part
from commoncanvas.provenance.record import filter_of
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.rows import among
from commoncanvas.table.schema import DUPLICATE_OF, NSFW, SHARPNESS
from commoncanvas.table.tombstones import Tombstones

SCAN_ROWS = 65_536
CURATED = {
    NSFW: "a classifier of sexual content (OpenNSFW)",
    DUPLICATE_OF: "duplicates",
    SHARPNESS: "blurred images",
}
"""Columns of `curate` -> what a condition on them leaves out."""


@dataclass(frozen=True)
class DataFacts:
    """Counts of the images that a model was trained on. The fields after `unknown` are empty if a catalog can't be
    opened.
    """

    sources: dict[str, int]
    """Source -> images, the largest first."""
    texts: dict[str, int]
    """Text column -> images whose text it is; empty if the model learned from no texts."""
    words: int
    """Words of all texts, each image's counted once."""
    unknown: str | None = None
    """Why the catalogs could not be read, for readers elsewhere; None if they were."""
    hosts: dict[str, int] = field(default_factory=dict)
    """Host of the image's web address -> images, the largest first. Images without a web address are not counted."""
    from_web: dict[str, int] = field(default_factory=dict)
    """Source -> its images that have a web address."""
    statuses: dict[str, int] = field(default_factory=dict)
    """`fetch_status` -> rows of the whole catalogs."""
    imports: tuple[ImportRecord, ...] = ()
    taken_down: int = 0
    """Images that were taken down from the catalogs, up to now."""
    written_by: dict[str, ColumnInfo] = field(default_factory=dict)
    """Text column -> the model that wrote it; columns of people's texts are not in it."""


@lru_cache(maxsize=1)
def data_facts(model: ModelFolder) -> DataFacts:
    """The facts of a model's training data. The documents of one release share one count. Raises ModelError."""
    trained = model.trained
    if model.record["task"] == "autoencoder":  # its rows have texts, but it doesn't read them
        known: tuple[dict[str, int], int] = {}, 0
    else:
        texts = Counter(name for name in trained["text_column"].to_pylist() if name)
        known = _in_order(texts), sum(len(text.split()) for text in trained["text"].to_pylist() if text)
    try:
        return _counted(model.catalogs, model, *known)
    except CatalogError as error:
        say(f"{one_line(error)}; the documents say what is not known without it", title="release:")
        places = ", ".join(last_part(source["uri"]) for source in model.record["catalogs"].values())
        unknown = f"not all catalogs of the training could be opened ({places})"
        # The ids of every source begin with its name.
        names = pc.list_element(pc.split_pattern(trained["image_id"], ":", max_splits=1), 0)
        return DataFacts(_in_order(Counter(names.to_pylist())), *known, unknown=unknown)


def part_license(part: Mapping[str, Any]) -> str:
    """The licence of a part that a model is built on: that of its card, or else the one that its images demand."""
    stated = str(part["license"])
    learned = part["origin"] and part["origin"]["result_license"]
    known = licenses.parse(str(learned) if stated == UNKNOWN and learned else stated)
    return known.id if known.known else stated


def curated(model: ModelFolder) -> list[str]:
    """What the conditions of `curate` left out of the training data, in words."""
    filters = " ".join(str(source["filter"]) for source in model.record["catalogs"].values())
    return [words for column, words in CURATED.items() if column in filters]


def _counted(
    catalogs: Mapping[str, Catalog], model: ModelFolder, texts: dict[str, int], words: int
) -> DataFacts:
    sources: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    from_web: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    imports: list[ImportRecord] = []
    taken_down = 0
    written_by: dict[str, ColumnInfo] = {}
    for uri in dict.fromkeys(catalog.uri for catalog in catalogs.values()):
        catalog = next(each for each in catalogs.values() if each.uri == uri)
        statuses.update(status_counts(catalog, "fetch_status", missing="not fetched"))
        imports += import_records(uri, catalog.storage_options)
        taken_down += _removed(catalog)
    for name, catalog in catalogs.items():
        mine = np.sort(model.trained.filter(pc.equal(model.trained["catalog"], name))["row_id"].to_numpy())
        where = filter_of(model.record["catalogs"][name])
        for batch in catalog.scan(["source", "image_url"], where, SCAN_ROWS, with_row_id=True):
            rows = batch.filter(pa.array(among(batch["_rowid"].to_numpy(), mine)))
            sources.update(rows["source"].to_pylist())
            for source, url in zip(
                *(rows[each].to_pylist() for each in ("source", "image_url")), strict=True
            ):
                if host := host_of(url):
                    hosts[host] += 1
                    from_web[source] += 1
        infos = {column: _info(catalog, column) for column in texts}
        written_by |= {column: info for column, info in infos.items() if info}
    return DataFacts(
        _in_order(sources),
        texts,
        words,
        hosts=_in_order(hosts),
        from_web=_in_order(from_web),
        statuses=_in_order(statuses),
        imports=tuple(sorted(imports, key=lambda record: record.date)),
        taken_down=taken_down,
        written_by=written_by,
    )


def host_of(url: str | None) -> str | None:
    """The host of a web address, in lower case and without `www.`; None for other addresses."""
    if not url or not url.lower().startswith(("http://", "https://")):
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return clean((host or "").removeprefix("www.").rstrip("."))


def _removed(catalog: Catalog) -> int:
    stones = Tombstones(catalog.uri, catalog.storage_options)
    stones.refresh()
    return len(set(stones.table["image_id"].drop_null().to_pylist()))


def _info(catalog: Catalog, column: str) -> ColumnInfo | None:
    return ColumnInfo.of(catalog.schema.field(column)) if column in catalog.schema.names else None


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest count first; equal counts by name."""
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
