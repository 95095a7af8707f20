"""A creator's takedown holds for every spelling of their address and name, and nobody near it comes in silently."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog, import_, takedown
from commoncanvas.core.errors import CatalogError
from commoncanvas.creators.matching import People, Who, name_hash
from commoncanvas.creators.names import near_marks
from commoncanvas.table.namesakes import MAY_BE_TAKEN_DOWN
from commoncanvas.table.schema import to_batch
from commoncanvas.table.tombstones import PLACE, Keys
from tests.creators.spellings import addresses, names
from tests.creators.test_urls import FLICKR, NSID, PERSON

WHY = "the photographer asked"
NAME = "José Muñoz"


def row(number: int, creator: str | None = None, url: str | None = None) -> dict[str, Any]:
    return {"image_id": f"a:{number}", "source": "a", "creator": creator, "creator_url": url}


def batch(people: Iterable[tuple[str | None, str | None]], first: int = 0) -> pa.RecordBatch:
    return to_batch(row(first + place, *who) for place, who in enumerate(people))


def left(catalog: Catalog) -> list[int]:
    catalog.refresh()
    return sorted(int(id.partition(":")[2]) for id in catalog.table(["image_id"])["image_id"].to_pylist())


ADDRESSES = [
    "https://www.flickr.com/people/61685594%40N00/",
    "https://WWW.FLICKR.COM/people/61685594@N00/",
    "https://www.flickr.com/people/61685594@N00/?utm=1",
    "https://www.flickr.com/people/61685594@N00/#about",
    "https://www.flickr.com:443/people/61685594@N00/",
    "https://m.flickr.com/people/61685594@N00/",
    "https://www.flickr.com/photos/61685594@N00/",
    "http://flickr.com/people/61685594@N00",
]
NAMES = [
    "JOSÉ MUÑOZ",
    "José  Muñoz",
    "José\u00a0Muñoz",
    unicodedata.normalize("NFD", NAME),
    "José\u200b Muñoz",
    "\u202aJosé Muñoz\u202c",
]


@pytest.mark.parametrize("asked", [PERSON, NSID, NAME])
def test_a_creator_is_kept_out_in_every_spelling_of_the_address(tmp_path: Path, asked: str) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add([batch([(NAME, PERSON), ("Ada Okafor", "https://www.flickr.com/people/61685595@N00/")])])
    assert takedown(catalog, creator=asked, reason=WHY).rows == 1
    assert catalog.add([batch([(None, url) for url in ADDRESSES], first=10)]) == (0, 0)
    neighbour = "https://www.flickr.com/people/61685594@N01/"
    assert catalog.add([batch([("Ada Okafor", neighbour)], first=30)]) == (1, 0)
    assert left(catalog) == [1, 30]


def test_a_name_takes_all_its_spellings_and_keeps_them_out(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    spelled = [(name, None) for name in (NAME, *NAMES)]
    catalog.add(
        [batch([*spelled, ("Jose Munoz", None), ("José Muñoz", "https://b.example/jm"), ("Ada", None)])]
    )
    report = takedown(catalog, creator=f"{NAME} ", reason=WHY, dry_run=True)
    assert report.rows == len(spelled) + 1  # the one address is theirs
    assert report.namesakes == {"Jose Munoz": 1}
    assert "Jose Munoz: 1 row" in str(report.render())
    takedown(catalog, creator=NAME, reason=WHY)
    assert left(catalog) == [len(spelled), len(spelled) + 2]
    assert catalog.add([batch(spelled, first=50)]) == (0, 0)


def test_an_apostrophe_is_an_apostrophe(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add([batch([("Sean O'Neil", None), ("Sean O\u2019Neil", None), ("Sean O\u02bcNeil", None)])])
    assert takedown(catalog, creator="sean o\u2019neil", reason=WHY).rows == 3


NEAR = [
    (NAME, None),  # the same name without the address
    (NAME, "https://elsewhere.example/jose"),
    ("Jose Munoz", None),
    ("José Muños", "https://elsewhere.example/muños"),
    ("Muñoz, José", None),
]


def test_near_matches_are_held_back_named_and_let_in_by_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add([batch([(NAME, PERSON)])])
    takedown(catalog, creator=PERSON, reason=WHY)
    images = tmp_path / "images"
    images.mkdir()
    lines = ["file,license,creator,creator_url"]
    for number, (name, url) in enumerate([*NEAR, ("Ada Okafor", None)]):
        (images / f"{number}.jpg").touch()
        lines.append(f'{number}.jpg,CC0,"{name}",{url or ""}')
    (images / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")

    report = import_("folder", catalog, path=images)
    assert (report.new, report.skipped) == (1, {MAY_BE_TAKEN_DOWN: len(NEAR)})
    assert [line for line in report.complaints if "Jose Munoz" in line]
    said = " ".join(capsys.readouterr().err.split())
    assert "5 rows skipped: the creator may be a person who was taken down" in said
    assert "José Muñoz (https://elsewhere.example/jose): 1" in said
    assert "--allow-namesakes" in said

    again = import_("folder", catalog, path=images, allow_namesakes=True)
    assert (again.new, again.present, again.skipped) == (len(NEAR), 1, {})
    # What a person has let in is neither doubted again nor listed.
    last = import_("folder", catalog, path=images)
    assert (last.new, last.present, last.skipped) == (0, len(NEAR) + 1, {})


def test_a_takedown_lists_the_people_who_may_be_the_same(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add([batch([(NAME, PERSON), *NEAR, ("Ada Okafor", None)])])
    report = takedown(catalog, creator=PERSON, reason=WHY)
    assert report.rows == 1
    assert sum(report.namesakes.values()) == len(NEAR)
    assert left(catalog) == list(range(1, len(NEAR) + 2))


def test_a_takedown_of_nobody_lists_who_is_nearly_called_so(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add([batch([(NAME, PERSON), ("Ada Okafor", None)])])
    with pytest.raises(CatalogError) as raised:
        takedown(catalog, creator="Jose Munoz", reason=WHY)
    assert (
        f"no row of {catalog.uri} is by creator Jose Munoz (similar names: {NAME} ({PERSON}): 1 row)"
        in str(raised.value)
    )
    with pytest.raises(CatalogError, match=r"is by creator Chen Wei; to keep"):
        takedown(catalog, creator="Chen Wei", reason=WHY)


def test_the_names_of_an_institution_are_nobodys(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    museum = "https://museum.example/"
    artists = ["Ada Okafor", "Bo Lindqvist", "Chen Wei Ling", "Dolores Ibarra", "Emil Nolde", "Frida Kahlo"]
    catalog.add([batch([(name, museum) for name in artists])])
    takedown(catalog, creator=museum, reason=WHY)
    assert catalog.add([batch([("Frida Kahlo", None)], first=20)]) == (1, 0)


def test_tombstones_hold_no_name(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add([batch([("Unmistakable Name", None)])])
    takedown(catalog, creator="unmistakable name", reason=WHY)
    files = [path.read_bytes() for path in (Path(catalog.uri) / PLACE).iterdir()]
    assert files
    assert not any(b"nmistakable" in file for file in files)


TAKEN = Keys(creator_urls=frozenset({PERSON}), creator_near=near_marks(NAME))
NAMED = Keys(creator_names=frozenset({name_hash(NAME)}), creator_near=near_marks(NAME))


@settings(max_examples=200, derandomize=True)
@given(addresses("flickr.com", FLICKR), st.one_of(st.none(), names(NAME)))
def test_no_spelling_of_an_address_comes_in(url: str, name: str | None) -> None:
    assert TAKEN.mask(pa.Table.from_pylist([row(1, name, url)], batch([]).schema)).all()


@settings(max_examples=200, derandomize=True)
@given(names(NAME))
def test_no_spelling_of_a_name_comes_in(name: str) -> None:
    rows = pa.Table.from_pylist([row(1, name), row(2, name, "https://elsewhere.example/")], batch([]).schema)
    assert NAMED.mask(rows).tolist() == [True, False]
    assert NAMED.near(rows).tolist() == [False, True]


@settings(max_examples=200, derandomize=True)
@given(st.integers(0, len(NSID) - 1), st.sampled_from("0123456789"))
def test_a_user_id_that_differs_in_one_character_is_somebody_else(place: int, mark: str) -> None:
    other = NSID[:place] + mark + NSID[place + 1 :]
    who = TAKEN.people.who(None, f"https://www.flickr.com/people/{other}/")
    assert who is (Who.SAME if other == NSID else Who.OTHER)


def test_people_are_told_apart_once_however_many_rows_they_have() -> None:
    people = People([PERSON], [], frozenset(), frozenset())
    rows = pa.Table.from_batches([batch([("Ada Okafor", "https://b.example/ada"), (None, PERSON)] * 500)])
    for _ in range(2):
        same, near = people.masks(rows)
        assert (int(same.sum()), int(near.sum())) == (500, 0)


@pytest.mark.parametrize("name", ["NASA/JPL", "x?jpl", "who#jpl"])
def test_a_name_with_marks_of_an_address_is_no_id(tmp_path: Path, name: str) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add([batch([(name, None), ("Jo", "https://www.flickr.com/people/jpl/")])])
    assert takedown(catalog, creator=name, reason=WHY).rows == 1
    assert left(catalog) == [1]
