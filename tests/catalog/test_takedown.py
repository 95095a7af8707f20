"""Takedown: the right rows go, stay out, and leave no byte behind; nobody else's do."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog, takedown
from commoncanvas.catalog.importing.sources import Report
from commoncanvas.core.errors import CatalogError
from commoncanvas.images.image import decode, encode_image, phash
from commoncanvas.table import append
from commoncanvas.table.byte_search import WINDOW, Search, windows
from commoncanvas.table.namesakes import Namesakes
from commoncanvas.table.schema import to_batch
from commoncanvas.table.storage import Storage
from commoncanvas.table.tombstones import Tombstones

REPOSITORY = Path(__file__).parents[2]
ROWS = 60
PEOPLE = 5
WHY = "the photographer asked"


@cache
def photo(number: int) -> bytes:
    """A JPEG that looks like none of the others."""
    coarse = np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    noise = np.random.default_rng(number).integers(0, 40, (96, 96, 3), dtype=np.uint8)
    return encode_image(np.kron(coarse, np.ones((8, 8, 1), np.uint8)) // 2 + noise, "jpeg")


def published(number: int) -> bytes:
    """The file that the image was fetched as."""
    return encode_image(decode(photo(number)), "png")


@cache
def hashes(number: int) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256(published(number)).hexdigest(),
        "phash": phash(decode(photo(number))),
    }


def row(number: int) -> dict[str, Any]:
    person = number % PEOPLE
    return {
        "image_id": f"photos:{number}",
        "source": "photos",
        "title": f"The unmistakable title of photograph {number}",
        "creator": f"Person {person}",
        "creator_url": f"https://www.photos.example/people/{person}234@N0{person}/",
        "page_url": f"https://www.photos.example/photos/{number}/",
        "image_url": f"https://live.photos.example/{number}.jpg",
        "license": "CC-BY-4.0",
        "image": photo(number),
        "fetch_status": "ok",
        **hashes(number),
    }


def everything() -> pa.RecordBatch:
    return to_batch(map(row, range(ROWS)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fragments of ten rows; tag `train-xs-v2` without, `train-small-v3` with a derived column, and newer rows."""
    uri = tmp_path_factory.mktemp("made") / "catalog.lance"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(append, "FRAGMENT_ROWS", 10)
        catalog = Catalog.create(uri)
        catalog.add([to_batch(map(row, range(20)))])
        catalog.tag("train-xs-v2")
        catalog.add([to_batch(map(row, range(20, 40)))])
        catalog.backfill(Lengths())
        catalog.tag("train-small-v3")
        catalog.add([everything()])
        catalog.backfill(Lengths())
    return uri


class Lengths:
    """Stands for latents: a column that is made of the image."""

    name = "lengths"
    reads = ("image",)
    writes = (pa.field("latent", pa.list_(pa.float32(), 4)),)
    done_column = "latent"
    batch_size = 5
    todo = "latent IS NULL"

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        made = [[float(len(image))] * 4 for image in batch["image"].to_pylist()]
        return pa.RecordBatch.from_arrays([pa.array(made, self.writes[0].type)], names=["latent"])


@pytest.fixture
def catalog(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """A copy of it, which goes on in fragments of ten rows."""
    monkeypatch.setattr(append, "FRAGMENT_ROWS", 10)
    return Catalog.open(shutil.copytree(made, tmp_path / "catalog.lance"))


def on_disk(uri: str | Path, number: int) -> bool:
    """Whether any file has any piece of a photograph or of its title; searched without the code under test."""
    stored = photo(number)
    pieces = [stored[start : start + 40] for start in range(len(stored) // 2, len(stored) - 40, 40)]
    pieces.append(f"title of photograph {number}".encode() + b"T")  # where the next title begins
    files = [path.read_bytes() for path in Path(uri).rglob("*") if path.is_file()]
    return any(piece in file for file in files for piece in pieces)


def numbers(catalog: Catalog) -> set[int]:
    catalog.refresh()
    return {
        int(image_id.partition(":")[2]) for image_id in catalog.table(["image_id"])["image_id"].to_pylist()
    }


ALL = set(range(ROWS))
SECOND = set(range(2, ROWS, PEOPLE))


@pytest.mark.parametrize(
    ("request_", "gone"),
    [
        ({"id": ["photos:7", "photos:31"]}, {7, 31}),
        ({"creator": "Person 2"}, SECOND),
        ({"creator": "2234@N02"}, SECOND),
        ({"creator": "http://photos.example/people/2234@N02"}, SECOND),
        ({"url": ["https://photos.example/photos/7"]}, {7}),
        ({"url": ["https://live.photos.example/8.jpg"]}, {8}),
    ],
    ids=["id", "name", "user-id", "creator-address", "page", "image"],
)
def test_each_way_of_asking_takes_exactly_its_rows_and_keeps_them_out(
    catalog: Catalog, request_: dict[str, Any], gone: set[int]
) -> None:
    report = takedown(catalog, **request_, reason=WHY)
    assert report.rows == len(gone)
    assert numbers(catalog) == ALL - gone
    assert catalog.add([everything()]) == (0, ROWS - len(gone))
    assert numbers(catalog) == ALL - gone
    kept = catalog.table(["image_id", "latent"])
    assert kept["latent"].null_count == 0


def test_a_list_may_mix_ids_and_addresses(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("photos:3\n\nhttps://live.photos.example/4.jpg\n  photos:5  \n")
    takedown(catalog, list_file=tmp_path / "list.txt", reason=WHY)
    assert numbers(catalog) == ALL - {3, 4, 5}


def test_a_file_takes_the_same_file_under_every_id_and_only_lists_what_looks_alike(
    catalog: Catalog, tmp_path: Path
) -> None:
    catalog.add(
        [
            to_batch(
                [{**row(9), "image_id": "mirror:9", "page_url": None, "image_url": None, "creator_url": None}]
            )
        ]
    )
    alike = row(9) | {"image_id": "photos:609", "sha256": "0" * 64, "page_url": None, "image_url": None}
    alike["phash"] ^= 0b101
    catalog.add([to_batch([alike])])
    (tmp_path / "9.png").write_bytes(published(9))
    report = takedown(catalog, file=[tmp_path / "9.png"], reason=WHY)
    assert report.rows == 2
    assert report.near.keys() == {"photos:609"}
    assert 0 < report.near["photos:609"] <= 8
    assert numbers(catalog) == (ALL | {609}) - {9}
    takedown(catalog, file=[tmp_path / "9.png"], reason=WHY, near=True)
    assert numbers(catalog) == ALL - {9}


def test_a_copy_under_another_id_goes_with_the_row_that_was_asked_for(catalog: Catalog) -> None:
    copy = {**row(9), "image_id": "mirror:9", "page_url": "https://mirror.example/9", "image_url": None}
    catalog.add([to_batch([copy])])
    assert takedown(catalog, id=["photos:9"], reason=WHY).copies == 1
    assert catalog.add([to_batch([copy, {**copy, "image_id": "mirror:10"}])]) == (0, 0)


def test_later_images_of_the_creator_stay_out_and_other_peoples_come_in(catalog: Catalog) -> None:
    takedown(catalog, creator="Person 2", reason=WHY)
    later = [
        {"image_id": f"photos:{1000 + person}", "source": "photos", "creator_url": row(person)["creator_url"]}
        for person in range(PEOPLE)
    ]
    assert catalog.add([to_batch(later)]) == (PEOPLE - 1, 0)
    assert "photos:1002" not in catalog.table(["image_id"])["image_id"].to_pylist()


def test_a_name_of_two_people_is_not_guessed_at(catalog: Catalog) -> None:
    other = {"image_id": "x:1", "source": "x", "creator": "Person 2", "creator_url": "https://x.example/p2"}
    catalog.add([to_batch([other])])
    with pytest.raises(CatalogError, match=r"matches 2 people .*https://x.example/p2"):
        takedown(catalog, creator="Person 2", reason=WHY)
    assert takedown(catalog, creator="https://x.example/p2", reason=WHY).rows == 1
    assert numbers(catalog) == ALL


def test_a_name_without_an_address_keeps_out_rows_without_one_and_holds_back_the_others(
    tmp_path: Path,
) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    nameless = {"source": "a", "creator": "Ada"}
    catalog.add(
        [to_batch([{**nameless, "image_id": "a:1"}, {**nameless, "image_id": "a:2", "creator": "Bo"}])]
    )
    takedown(catalog, creator="Ada", reason=WHY)
    namesake = {**nameless, "image_id": "a:4", "creator_url": "https://elsewhere.example/ada"}
    later = to_batch([{**nameless, "image_id": "a:3"}, namesake])
    assert catalog.add([later]) == (0, 0)
    assert catalog.add([later], Namesakes(Report(), allowed=True)) == (1, 0)
    kept = (Path(catalog.uri) / "_commoncanvas").rglob("*")
    assert not any(b"Ada" in path.read_bytes() for path in kept if path.is_file())


def test_an_address_that_others_share_keeps_nobody_else_out(catalog: Catalog) -> None:
    home = "https://museum.example/"
    works = [{"image_id": f"museum:{n}", "source": "museum", "page_url": home} for n in range(6)]
    catalog.add([to_batch(works[:4])])
    takedown(catalog, id=["museum:1"], reason=WHY)
    assert catalog.add([to_batch(works)]) == (2, 3)


def test_what_is_not_there_yet_is_kept_out_in_advance(catalog: Catalog) -> None:
    page = "https://www.photos.example/photos/71/"
    report = takedown(catalog, id=["photos:70"], url=[page], reason=WHY)
    assert (report.rows, report.unknown) == (0, ("photos:70", page))
    assert catalog.add([to_batch(map(row, (70, 71, 72)))]) == (1, 0)
    takedown(catalog, creator="https://www.photos.example/people/77@N01/", reason=WHY)
    person = {
        "image_id": "photos:80",
        "source": "photos",
        "creator_url": "http://photos.example/people/77@N01",
    }
    assert catalog.add([to_batch([person])]) == (0, 0)


def test_a_dry_run_says_the_same_and_changes_nothing(catalog: Catalog) -> None:
    before = sorted(path for path in Path(catalog.uri).rglob("*"))
    dry = takedown(catalog, creator="Person 2", reason=WHY, purge=True, dry_run=True)
    assert sorted(path for path in Path(catalog.uri).rglob("*")) == before
    real = takedown(catalog, creator="Person 2", reason=WHY)
    assert {**dry.to_dict(), "dry_run": False} == real.to_dict()


def test_the_tags_that_hold_the_rows_are_named_with_their_counts(catalog: Catalog) -> None:
    report = takedown(catalog, id=["photos:7", "photos:31", "photos:55"], reason=WHY)
    assert report.tags == {"train-xs-v2": 1, "train-small-v3": 2}
    assert report.creators == {
        f"Person {n} (https://www.photos.example/people/{n}234@N0{n}/)": count
        for n, count in ((2, 1), (1, 1), (0, 1))
    }
    assert on_disk(catalog.uri, 7)
    assert Catalog.open(catalog.uri, version="train-xs-v2").count("image_id = 'photos:7'") == 1


def test_a_purge_leaves_no_byte_and_drops_only_the_tags_that_held_the_rows(catalog: Catalog) -> None:
    assert all(on_disk(catalog.uri, number) for number in (31, 33))
    report = takedown(catalog, id=["photos:31", "photos:33"], reason=WHY, purge=True)
    assert report.purged is not None
    assert report.purged.tags == ("train-small-v3",)
    assert report.purged.images == 2
    assert not on_disk(catalog.uri, 31)
    assert not on_disk(catalog.uri, 33)
    assert all(on_disk(catalog.uri, number) for number in ALL - {31, 33})
    catalog.refresh()
    catalog.dataset.validate()
    assert list(catalog.tags()) == ["train-xs-v2"]
    assert Catalog.open(catalog.uri, version="train-xs-v2").count() == 20
    rows = catalog.table(["image_id", "image", "latent"]).to_pylist()
    assert {each["image_id"]: each["image"] for each in rows} == {
        f"photos:{number}": photo(number) for number in ALL - {31, 33}
    }
    assert all(each["latent"] == [float(len(each["image"]))] * 4 for each in rows)
    sizes = [fragment.count_rows() for fragment in catalog.dataset.get_fragments()]
    assert sorted(sizes) == [8, 10, 10, 10, 10, 10] or sorted(sizes) == [9, 9, 10, 10, 10, 10]


def test_rows_deleted_before_are_purged_by_asking_again(catalog: Catalog) -> None:
    takedown(catalog, creator="Person 2", reason=WHY)
    assert on_disk(catalog.uri, 12)
    for again in ({"creator": "Person 2", "reason": WHY}, {}):
        report = takedown(catalog, **again, purge=True)
        assert report.purged is not None
        assert report.purged.images == len(SECOND)
        assert not any(on_disk(catalog.uri, number) for number in SECOND)
    assert len(Tombstones(catalog.uri).table) == 0  # not read yet
    stones = Tombstones(catalog.uri)
    stones.refresh()
    ids = stones.table["image_id"].drop_null().to_pylist()
    assert len(ids) == len(set(ids)) == len(SECOND)


def test_rows_that_only_a_tag_still_has_are_found_and_purged(catalog: Catalog) -> None:
    catalog.dataset.delete("image_id = 'photos:7'")
    catalog.cleanup(timedelta(0))
    report = takedown(catalog, id=["photos:7"], reason=WHY, purge=True)
    assert (report.rows, report.tags) == (0, {"train-xs-v2": 1, "train-small-v3": 1})
    assert report.purged is not None
    assert report.purged.images == 1
    assert not on_disk(catalog.uri, 7)
    assert catalog.tags() == {}


def test_bytes_that_a_killed_process_left_are_found_and_go_with_exclusive(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commoncanvas.table.purge.WAIT_S", 1)
    fragment = next(each for each in catalog.dataset.get_fragments() if each.fragment_id == 3)
    ids = catalog.dataset.scanner(columns=["image"], with_row_id=True, fragments=[fragment]).to_table()
    fragment.update_columns(ids)  # written, never committed
    number = (
        7
        if photo(7) in ids["image"].to_pylist()
        else int(
            catalog.dataset.scanner(columns=["image_id"], fragments=[fragment])
            .to_table()["image_id"][4]
            .as_py()[7:]
        )
    )
    with pytest.raises(CatalogError, match=r"bytes of 1 image are still in 1 file .*--exclusive"):
        takedown(catalog, id=[f"photos:{number}"], reason=WHY, purge=True)
    assert on_disk(catalog.uri, number)
    takedown(catalog, purge=True, exclusive=True)
    assert not on_disk(catalog.uri, number)
    assert numbers(catalog) == ALL - {number}


def test_an_image_with_pieces_in_common_with_one_that_stays_can_be_purged(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    twins = [
        {**row(1), "image_id": f"t:{n}", "sha256": None, "page_url": None, "image_url": None} for n in (1, 2)
    ]
    catalog.add([to_batch(twins)])
    report = takedown(catalog, id=["t:1"], reason=WHY, purge=True)
    assert report.purged is not None
    assert catalog.count() == 1


def test_tombstones_hold_no_more_than_they_need(catalog: Catalog) -> None:
    takedown(catalog, id=["photos:7"], reason=WHY, purge=True)
    stones = Tombstones(catalog.uri)
    stones.refresh()
    (kept,) = stones.table.to_pylist()
    assert (kept["image_id"], kept["reason"], kept["source"]) == ("photos:7", WHY, "photos")
    assert kept["sha256"] == row(7)["sha256"]
    assert kept["phash"] == row(7)["phash"]
    assert kept["creator_url"] is kept["creator_sha256"] is None
    files = [path.read_bytes() for path in (Path(catalog.uri) / "_commoncanvas").rglob("*") if path.is_file()]
    for secret in (b"Person", b"unmistakable", b"people/", photo(7)[-60:-20]):
        assert not any(secret in file for file in files)


def test_clean_up_leaves_the_tombstones_alone(catalog: Catalog) -> None:
    takedown(catalog, id=["photos:7"], reason=WHY)
    catalog.refresh()
    catalog.cleanup(timedelta(0), exclusive=True)
    assert catalog.add([everything()]) == (0, ROWS - 1)


@pytest.mark.parametrize("more", [0, 3])
def test_an_import_that_had_looked_before_the_takedown_does_not_bring_the_row_back(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """Nor if it looks again, at `more` rows, before it commits the first."""
    monkeypatch.setattr(append, "PART_ROWS", 1)
    catalog.dataset.delete("image_id = 'photos:7'")
    catalog.refresh()
    refused = Tombstones.refused
    late = iter([True])

    def look_then_takedown(stones: Tombstones, rows: pa.Table) -> Any:
        mask = refused(stones, rows)
        if next(late, False):
            takedown(catalog.uri, id=["photos:7"], reason=WHY)
        return mask

    monkeypatch.setattr(Tombstones, "refused", look_then_takedown)
    given = [row(number) for number in (7, *range(ROWS, ROWS + more))]
    Catalog.open(catalog.uri).add([to_batch(given)])
    assert numbers(catalog) == ALL - {7} | set(range(ROWS, ROWS + more))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing was taken down .* pass --id"),
        ({"id": ["photos:1"]}, "pass --reason"),
        ({"id": ["photos:1", " "], "reason": WHY}, "an id, URL or creator to take down is empty"),
        ({"url": [""], "reason": WHY}, "an id, URL or creator to take down is empty"),
        ({"creator": "", "reason": WHY, "purge": True}, "an id, URL or creator to take down is empty"),
        ({"creator": "Nobody", "reason": WHY}, "no row of .* by creator Nobody"),
        ({"list_file": "nowhere.txt", "reason": WHY}, "nowhere.txt can't be read"),
        ({"file": ["nowhere.jpg"], "reason": WHY}, "nowhere.jpg can't be read"),
        ({"file": [__file__], "reason": WHY}, "can't be read as an image"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(
    catalog: Catalog, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(CatalogError, match=message) as raised:
        takedown(catalog, **arguments)
    assert "\n" not in str(raised.value)
    assert not (Path(catalog.uri) / "_commoncanvas").exists()


def command(uri: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "commoncanvas", "catalog", "takedown", "--catalog", str(uri), *words]


ASKED = ("--creator", "Person 2", "--reason", WHY, "--purge", "--json")


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_it_finishes_and_loses_nobody_elses_row(
    catalog: Catalog, tmp_path: Path
) -> None:
    draw = random.Random(4)
    uri = Path(catalog.uri)
    began = time.monotonic()
    subprocess.run(command(tmp_path / "none.lance"), capture_output=True, check=False)
    start_up = time.monotonic() - began
    kills = attempt = 0
    while attempt < 14 or (kills < 3 and attempt < 40):
        process = subprocess.Popen(command(uri, *ASKED), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stones = uri / "_commoncanvas"
        while attempt % 2 and not stones.exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.5) + (0 if attempt % 2 and attempt < 3 else start_up * 0.8))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        else:  # the machine is less busy than it was
            start_up *= 0.7
        process.communicate(timeout=60)
        left = numbers(Catalog.open(uri))
        assert left >= ALL - SECOND
        if left != ALL:  # a row may only go when its tombstone is there
            stones_now = Tombstones(str(uri))
            stones_now.refresh()
            assert {f"photos:{n}" for n in ALL - left} <= stones_now.keys.image_ids
        Catalog.open(uri).dataset.validate()
        attempt += 1
    assert kills >= 3
    done = subprocess.run(command(uri, *ASKED), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["purged"]["images"] == len(SECOND)
    assert numbers(Catalog.open(uri)) == ALL - SECOND
    assert not any(on_disk(uri, number) for number in SECOND)


@pytest.mark.slow
def test_two_takedowns_and_an_import_at_once_end_as_one_after_the_other(catalog: Catalog) -> None:
    uri = Path(catalog.uri)
    processes = [
        subprocess.Popen(
            command(uri, "--creator", f"Person {person}", "--reason", WHY, "--purge"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for person in (2, 3)
    ]
    while any(process.poll() is None for process in processes):
        try:
            Catalog.open(uri).add([to_batch(map(row, range(ROWS, ROWS + 10)))])
        except CatalogError as error:  # the version that it was reading has just been purged
            assert "Not found" in str(error)
    catalog.refresh()
    catalog.add([to_batch(map(row, range(ROWS, ROWS + 10)))])
    for process in processes:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr.decode()
    gone = {number for number in range(ROWS + 10) if number % PEOPLE in (2, 3)}
    assert numbers(catalog) == set(range(ROWS + 10)) - gone
    takedown(catalog, purge=True)
    assert not any(on_disk(uri, number) for number in gone & ALL)


@given(st.binary(min_size=WINDOW, max_size=3000), st.integers(1, 500), st.binary(max_size=300))
def test_an_image_is_found_however_its_file_is_cut_into_chunks(image: bytes, cut: int, around: bytes) -> None:
    data = around + image + around
    chunks = [data[start : start + cut] for start in range(0, len(data), cut)]
    wanted = windows(image)
    assert Search(wanted)(chunks) == set(wanted)


@given(st.binary(min_size=WINDOW, max_size=300), st.binary(max_size=2000))
def test_nothing_is_found_that_is_not_there(image: bytes, other: bytes) -> None:
    found = Search(windows(image))([other])
    pieces = {image[start : start + WINDOW] for start in range(len(image) - WINDOW + 1)}
    assert bool(found) <= any(piece in other for piece in pieces)


@pytest.mark.parametrize("size", [64, pytest.param(512, marks=pytest.mark.slow)])
def test_every_image_that_lance_stores_is_found_in_its_files(tmp_path: Path, size: int) -> None:
    # Lance breaks large values in two now and then.
    draw = np.random.default_rng(0)
    images = [
        encode_image(draw.integers(0, 9, (size, size, 3), dtype=np.uint8) * 28, "png") for _ in range(60)
    ]
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add(
        [to_batch({"image_id": f"s:{n}", "source": "s", "image": image} for n, image in enumerate(images))]
    )
    storage = Storage(catalog.uri)
    search = Search(window for image in images for window in windows(image))
    found = set().union(*(search(storage.chunks(path)) for path in storage.files()))
    assert all(len(found & set(windows(image))) >= len(windows(image)) - 2 for image in images)
