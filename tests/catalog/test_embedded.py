"""Images that a source brings along: rows in order, few images at a time, and no image costs more than itself."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
import pyvips

from commoncanvas.catalog.importing.sources import Report
from commoncanvas.catalog.importing.sources.embedded import Pending, with_images
from commoncanvas.core.errors import DecoderError
from commoncanvas.images import decoders, tasks
from commoncanvas.images.tasks import Store
from tests.catalog.imports import picture
from tests.images.test_decoders import children


def test_rows_keep_their_order_and_only_a_few_images_wait() -> None:
    taken = []

    def pending() -> Iterator[Pending]:
        for number in range(100):
            taken.append(number)
            data = None if number % 7 == 0 else (b"no image" if number % 5 == 0 else picture(seed=number))
            yield (
                f"row {number}",
                {"image_id": str(number), "original_width": None, "original_height": 9},
                data,
            )

    report = Report()
    rows = with_images(pending(), Store(), report)
    limit = 2 * (os.cpu_count() or 1)
    for number, row in enumerate(rows):
        assert row["image_id"] == str(number)
        assert len(taken) <= number + limit + 1
        assert row["original_height"] == 9
        if row.get("fetch_status") == "ok":
            assert row["original_width"] == 24
    bad = [number for number in range(100) if number % 5 == 0 and number % 7]
    assert report.remarks == {"kept without image": len(bad)}
    assert report.complaints[0].startswith(f"row {bad[0]}: kept without image (not_an_image")


def bands(count: int) -> bytes:
    pixels = np.full((20, 30, count), 90, np.uint8)
    data: bytes = pyvips.Image.new_from_array(pixels).tiffsave_buffer()
    return data


@pytest.mark.parametrize("count", [5, 240])
def test_an_image_of_too_many_bands_costs_itself_only(count: int) -> None:
    files = [picture(seed=0), bands(count), picture(seed=1)]
    report = Report()
    rows = list(with_images(((f"row {n}", {}, file) for n, file in enumerate(files)), Store(), report))
    assert [row["fetch_status"] for row in rows] == ["ok", "unsupported_format", "ok"]
    assert f"tiff with {count} bands" in report.complaints[0]


def test_a_source_that_is_left_early_leaves_no_process_behind() -> None:
    tasks.lookers().close()  # the process that look-ups keep may be there from another test
    rows = with_images(((f"row {n}", {}, picture(seed=n)) for n in range(50)), Store(), Report())
    assert next(rows)["fetch_status"] == "ok"
    assert children()
    rows.close()  # type: ignore[attr-defined]
    assert not children()
    assert not [one for one in psutil.Process().children() if one.status() == psutil.STATUS_ZOMBIE]


def test_where_nothing_can_be_decoded_no_image_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "START_PAUSES_S", ())
    monkeypatch.setattr(decoders, "_MAIN", "raise SystemExit(3)")
    with pytest.raises(DecoderError, match="can be started: exit status 3"):
        list(with_images([("row 0", {}, picture())], Store(), Report()))
