"""Statistics of a catalog."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from commoncanvas.catalog import Catalog, stats
from commoncanvas.catalog.schema import to_batch
from commoncanvas.errors import CatalogError

LICENSES = ["CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-ND-2.0", "CC0-1.0", "unknown", None]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog.create(tmp_path / "[b]catalog.lance")
    rows = [
        {
            "image_id": f"s:{number}",
            "source": "s" if number % 3 else "t",
            "license": LICENSES[number % 6],
            "creator": [None, "Ada", "Bea [red]\x1b[31m"][number % 3],
            "label": "x" if number < 10 else None,
            **(
                {
                    "fetch_status": "ok",
                    "width": 10,
                    "height": 20,
                    "original_width": 100,
                    "original_height": number,
                }
                if number % 2
                else {}
            ),
            "image": bytes(1000) if number % 2 else None,
        }
        for number in range(60)
    ]
    catalog.add([to_batch(rows)])
    catalog.add_columns([pa.field("caption", pa.string())])
    return catalog


def test_every_count_is_what_the_rows_say(catalog: Catalog) -> None:
    found = stats(catalog)
    assert found.rows == 60
    assert found.licenses == {**dict.fromkeys(sorted(filter(None, LICENSES)), 10), "not stated": 10}
    assert found.sources == {"s": 40, "t": 20}
    assert found.fetch_statuses == {"ok": 30, "pending": 30}
    assert (found.creators, found.top_creators) == (2, {"Ada": 20, "Bea [red]\x1b[31m": 20})
    assert (found.commercial, found.noncommercial) == (20, 30)
    assert (found.mean_width, found.mean_height, found.mean_original_width, found.mean_original_height) == (
        *(10.0, 20.0, 100.0, 30.0),
    )
    assert found.filled == {"label": 10, "caption": 0}
    assert 0 < found.image_bytes < found.total_bytes
    assert json.loads(json.dumps(found.to_dict()))["rows"] == 60


def test_a_filter_counts_only_its_rows(catalog: Catalog) -> None:
    found = stats(catalog.uri, filter="license = 'CC-BY-4.0'")
    assert (found.rows, found.licenses, found.filled["label"]) == (10, {"CC-BY-4.0": 10}, 2)
    with pytest.raises(CatalogError, match="is not valid"):
        stats(catalog, filter="nosuch")


def test_an_empty_catalog_has_statistics_too(tmp_path: Path) -> None:
    found = stats(Catalog.create(tmp_path / "empty.lance"))
    assert (found.rows, found.licenses, found.mean_width) == (0, {}, None)
    Console(file=(tmp_path / "out").open("w")).print(found.render())


def test_the_terminal_shows_names_as_they_are_and_obeys_none_of_them(
    catalog: Catalog, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w") as file:
        Console(file=file, width=120).print(stats(catalog).render())
    text = (tmp_path / "out").read_text()
    assert "Bea [red] [31m" in text
    assert "\x1b" not in text
    assert "[b]catalog.lance" in text
    assert "60 images by 2 creators; 20 for commercial models (C), 30 for others (NC)" in text
