"""What was taken down stays out when its bytes come back: under another id, saved anew, or in an older export."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from commoncanvas.catalog import Catalog, FetchOptions, curate, export, fetch, import_, takedown
from commoncanvas.catalog.fetching.worker import Worker
from commoncanvas.images.copies import find_copy, make_query
from commoncanvas.images.image import decode, encode_image, phash
from commoncanvas.table.removal import rows_to_remove
from commoncanvas.table.schema import to_batch
from commoncanvas.table.takedown_request import Request
from commoncanvas.table.tombstones import Tombstones

Picture = Image.Image


def picture(seed: int) -> Picture:
    """A photo's tile: `seed` 0, 1 and 2 look nothing alike."""
    photo = load_sample_images().images[seed % 2]
    top = 140 * (seed // 2)
    return Image.fromarray(np.ascontiguousarray(photo[top : top + 280, 100:500]))


def saved(image: Picture, format: str = "PNG", **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **how)
    return file.getvalue()


COPIES: dict[str, Callable[[Picture], bytes]] = {
    "saved anew": lambda image: saved(image, compress_level=1),
    "jpeg of quality 97": lambda image: saved(image, "JPEG", quality=97),
    "half size": lambda image: saved(image.resize((image.width // 2, image.height // 2))),
    "cropped by 2 %": lambda image: saved(image.crop((8, 6, image.width, image.height))),
    "webp": lambda image: saved(image, "WEBP", quality=80),
}


def folder(place: Path, images: dict[str, bytes], uploader: str) -> Path:
    place.mkdir()
    lines = ["file,license,creator,page_url"]
    for name, data in images.items():
        (place / name).write_bytes(data)
        lines.append(f"{name},CC-BY-4.0,{uploader},https://{place.name}.example/{name}")
    (place / "metadata.csv").write_text("\n".join(lines) + "\n")
    return place


def statuses(catalog: Catalog | str) -> dict[str, str | None]:
    table = Catalog.open(catalog if isinstance(catalog, str) else catalog.uri).table(
        ["image_id", "fetch_status", "image"]
    )
    rows = table.to_pylist()
    assert all((row["image"] is not None) == (row["fetch_status"] == "ok") for row in rows)
    return {row["image_id"]: row["fetch_status"] for row in rows}


@pytest.fixture(scope="module")
def taken_down(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog of a/x.png, a/y.png and a/z.png, of which x was taken down and purged."""
    made = tmp_path_factory.mktemp("taken-down")
    uri = str(made / "catalog.lance")
    names = ("x.png", "y.png", "z.png")
    a = folder(made / "a", {name: saved(picture(n)) for n, name in enumerate(names)}, "Ada")
    import_("folder", uri, path=a)
    fetch(uri)
    export("huggingface", uri, made / "before")
    export("webdataset", uri, made / "before-tars")
    takedown(uri, id=["folder:a/x.png"], reason="asked", purge=True)
    return made


@pytest.fixture
def uri(taken_down: Path, tmp_path: Path) -> str:
    """The catalog of a copy, in `tmp_path`."""
    shutil.copytree(taken_down, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "catalog.lance")


def test_the_same_file_of_another_uploader_is_not_stored_again(uri: str, tmp_path: Path) -> None:
    b = folder(
        tmp_path / "b", {"copy.png": (tmp_path / "a/x.png").read_bytes(), "y.png": saved(picture(3))}, "Bo"
    )
    import_("folder", uri, path=b)
    for retry, lookalikes in (([], False), (["failed"], False), (["taken_down"], True)):
        report = fetch(uri, FetchOptions(allow_lookalikes=lookalikes), retry=retry)
        assert report.statuses == {"ok": 3, "taken_down": 1}
    assert statuses(uri)["folder:b/copy.png"] == "taken_down"
    curate(uri, policy="commercial", name="c-v1")
    chosen = Catalog.open(uri, "c-v1").table(["image_id"], "fetch_status = 'ok'")["image_id"].to_pylist()
    assert "folder:b/copy.png" not in chosen
    again = takedown(uri, purge=True)
    assert again.rows == 0
    assert statuses(uri)["folder:b/copy.png"] == "taken_down"


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_that_was_changed_is_held_back_named_and_let_in_only_when_asked(
    uri: str, tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    b = folder(tmp_path / "b", {"copy": COPIES[change](picture(0)), "y.png": saved(picture(3))}, "Bo")
    (b / "copy").rename(b / "copy.png")
    (b / "metadata.csv").write_text((b / "metadata.csv").read_text().replace("copy,", "copy.png,"))
    import_("folder", uri, path=b)
    fetch(uri)
    assert statuses(uri) == {
        "folder:a/y.png": "ok",
        "folder:a/z.png": "ok",
        "folder:b/copy.png": "looks_taken_down",
        "folder:b/y.png": "ok",
    }
    said = capsys.readouterr().err
    assert "folder:b/copy.png" in said
    assert "--allow-lookalikes" in said
    row = (
        Catalog.open(uri)
        .table(["image_id", "fetch_error", "phash", "sha256"], "fetch_status <> 'ok'")
        .to_pylist()
    )
    assert "folder:a/x.png" in row[0]["fetch_error"]
    assert row[0]["phash"] is row[0]["sha256"] is None
    fetch(uri, retry=["failed"])
    assert statuses(uri)["folder:b/copy.png"] == "looks_taken_down"
    fetch(uri, FetchOptions(allow_lookalikes=True), where="image_id = 'folder:b/copy.png'")
    assert statuses(uri)["folder:b/copy.png"] == "ok"
    assert takedown(uri).rows == 0


def test_images_that_come_along_are_compared_too(uri: str, tmp_path: Path) -> None:
    x = (tmp_path / "a/x.png").read_bytes()
    images = {
        "exact": x,
        "other": saved(picture(3)),
        **{name: copy(picture(0)) for name, copy in COPIES.items()},
    }
    table = pa.table(
        {
            "key": list(images),
            "image": pa.array([{"bytes": data, "path": None} for data in images.values()]),
            "license": ["CC0-1.0"] * len(images),
        }
    )
    (tmp_path / "hub").mkdir()
    pq.write_table(table, tmp_path / "hub/train.parquet")
    import_("huggingface", uri, path=tmp_path / "hub", columns={"id": "key"})
    found = {key.removeprefix("huggingface:hub/"): status for key, status in statuses(uri).items()}
    assert found["other"] == "ok"
    assert "exact" not in found
    assert {found[name] for name in COPIES} == {"looks_taken_down"}
    import_("huggingface", uri, path=tmp_path / "hub", columns={"id": "key"}, allow_lookalikes=True)
    found = {key.removeprefix("huggingface:hub/"): status for key, status in statuses(uri).items()}
    assert "exact" not in found
    assert {found[name] for name in COPIES} == {"ok"}


def test_an_export_from_before_the_takedown_does_not_bring_it_back(uri: str, tmp_path: Path) -> None:
    for lookalikes in (False, True):
        report = import_("huggingface", uri, path=tmp_path / "before", allow_lookalikes=lookalikes)
        assert report.skipped == {"taken down": 1}
        report = import_("img2dataset", uri, path=tmp_path / "before-tars", allow_lookalikes=lookalikes)
        assert report.skipped == {"taken down": 1}
    assert set(statuses(uri).values()) == {"ok"}
    assert len(statuses(uri)) == 6


def test_a_digest_alone_is_enough_to_know_an_exports_row(uri: str, tmp_path: Path) -> None:
    path = next((tmp_path / "before/data").iterdir())
    table = pq.read_table(path).drop_columns(["image_id"])
    (tmp_path / "passed-on").mkdir()
    pq.write_table(table, tmp_path / "passed-on/train.parquet")
    report = import_("huggingface", uri, path=tmp_path / "passed-on", allow_lookalikes=True)
    assert report.skipped == {"taken down": 1}


def test_a_file_that_is_taken_down_in_advance_is_known_by_its_looks_too(uri: str, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(saved(picture(4)))
    takedown(uri, file=[tmp_path / "mine.png"], reason="asked")
    b = folder(
        tmp_path / "b", {"q.jpg": saved(picture(4), "JPEG", quality=97), "m.png": saved(picture(4))}, "Bo"
    )
    import_("folder", uri, path=b)
    assert fetch(uri).statuses == {"ok": 2, "taken_down": 1, "looks_taken_down": 1}


def test_a_copy_that_is_fetched_while_it_is_taken_down_goes_at_the_end(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = folder(tmp_path / "b", {"y.png": (tmp_path / "a/y.png").read_bytes()}, "Bo")
    import_("folder", uri, path=b)
    run = Worker.rows

    def during(worker: Worker, *places: Any) -> Any:
        rows = run(worker, *places)
        takedown(uri, id=["folder:a/y.png"], reason="asked")
        return rows

    monkeypatch.setattr(Worker, "rows", during)
    fetch(uri)
    assert statuses(uri) == {"folder:a/z.png": "ok"}


def test_strangers_look_like_nothing_that_was_taken_down() -> None:
    stones = np.array([phash(np.asarray(picture(n))) for n in range(4)], np.uint64)
    for seed in range(40):
        draw = np.random.default_rng(seed)
        blocks = draw.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        other = np.kron(blocks, np.ones((16, 16, 1), np.uint8))
        assert find_copy(make_query(other), stones) is None
    blank = np.full((120, 90, 3), 255, np.uint8)
    assert find_copy(make_query(blank), np.append(stones, np.uint64(phash(blank)))) is None


def test_a_copy_is_told_among_a_hundred_thousand_tombstones() -> None:
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**64, 100_000, dtype=np.uint64)
    hashes[77] = phash(np.asarray(picture(1)))
    found = find_copy(make_query(decode(encode_image(np.asarray(picture(1)), "jpeg", 60))), hashes)
    assert found is not None
    assert found.index == 77
    assert find_copy(make_query(np.asarray(picture(2))), hashes) is None


def test_a_row_without_an_image_or_with_a_broken_one_is_added_as_it_is(uri: str) -> None:
    rows = [
        {"image_id": "s:1", "source": "s"},
        {"image_id": "s:2", "source": "s", "image": b"broken", "fetch_status": "ok"},
    ]
    assert Catalog.open(uri).add([to_batch(rows)]) == (2, 0)


def test_a_copy_that_a_killed_fetch_had_stored_goes_with_the_next(uri: str, tmp_path: Path) -> None:
    """The takedown came while it was fetched, and the fetch didn't live to look again."""
    b = folder(tmp_path / "b", {"y.png": (tmp_path / "a/y.png").read_bytes()}, "Bo")
    import_("folder", uri, path=b)
    fetch(uri)
    catalog, stones = Catalog.open(uri), Tombstones(uri)
    _, kept = rows_to_remove(catalog, Request.of(["folder:a/y.png"], None, (), None, ()), stones)
    stones.record(kept, "asked")
    assert "folder:b/y.png" in statuses(uri)
    fetch(uri)
    assert statuses(uri) == {"folder:a/z.png": "ok"}


def test_what_is_taken_down_during_a_fetch_is_known_from_the_next_batch_on(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what only looks like it."""
    image = Image.open(tmp_path / "a/y.png")
    again = folder(tmp_path / "b", {"y.jpg": saved(image, "JPEG", quality=97)}, "Bo")
    import_("folder", uri, path=again)
    run = Catalog.backfill

    def during(catalog: Catalog, *stage: Any, **how: Any) -> int:
        takedown(uri, id=["folder:a/y.png"], reason="asked")
        with monkeypatch.context() as patch:
            patch.setattr(Catalog, "backfill", run)
            return catalog.backfill(*stage, **how)

    monkeypatch.setattr(Catalog, "backfill", during)
    fetch(uri)
    assert statuses(uri)["folder:b/y.jpg"] == "looks_taken_down"
