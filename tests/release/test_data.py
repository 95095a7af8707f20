"""A data set as it is published: all tools read it, everybody is credited, and what was removed can be found."""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet as pq
import pytest

from commoncanvas.catalog import Catalog, import_, save_filter, takedown
from commoncanvas.core.errors import CatalogError
from commoncanvas.release.check_data import check_data
from commoncanvas.release.data import release_data
from commoncanvas.release.data_folder import DataFolder
from commoncanvas.table.schema import to_batch
from tests.release.collection import ROWS, make_catalog, row

data = importlib.import_module("commoncanvas.release.data")
mlcroissant = pytest.importorskip("mlcroissant")
IDS = [f"photos:{number:02}" for number in range(ROWS)]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return make_catalog(tmp_path / "cc.lance")


def ids(folder: Path) -> list[str]:
    return [each["image_id"] for batch in DataFolder(folder).batches(["image_id"]) for each in batch]


def contents(folder: Path) -> Iterator[str]:
    """All text of a folder, with that inside of Parquet files."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            yield str(pq.read_table(path).to_pylist()) + str(pq.read_schema(path).metadata)
        elif path.is_file():
            yield path.read_bytes().decode(errors="replace")


@pytest.mark.parametrize(
    "format", ["huggingface", "parquet", pytest.param("webdataset", marks=pytest.mark.slow)]
)
def test_the_rows_of_the_tag_are_released_and_every_tool_reads_them(
    catalog: Catalog, tmp_path: Path, format: str
) -> None:
    released = release_data(catalog, tmp_path / "my set", tag="c-v1", format=format, shard_size="5")
    folder = tmp_path / "my set"
    assert ids(folder) == IDS
    assert released.exported.left_out == {"licence all-rights-reserved": 1}
    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not dataset.metadata.issues.errors
    assert not dataset.metadata.issues.warnings
    assert [each["images/image_id"].decode() for each in dataset.records("images")] == IDS
    assert not check_data(folder, catalog.uri).problems
    assert not [text for text in contents(folder) if str(tmp_path) in text or "somebody" in text]
    source = "img2dataset" if format == "webdataset" else "huggingface"
    assert import_(source, tmp_path / "again.lance", folder).new == ROWS
    if format == "webdataset":
        webdataset = pytest.importorskip("webdataset")
        urls = [str(path) for path in sorted((folder / "data").glob("*.tar"))]
        read = webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8")
        assert [each["json"]["image_id"] for each in read] == IDS
    else:
        datasets = pytest.importorskip("datasets")
        loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded["image_id"] == IDS
        assert loaded[3]["image"].size == (24, 16)


def test_without_images_there_is_no_picture_but_what_is_needed_to_fetch_it(
    catalog: Catalog, tmp_path: Path
) -> None:
    release_data(catalog, tmp_path / "out", tag="c-v1", images=False)
    rows = pq.read_table(tmp_path / "out/data/train-00000.parquet").to_pylist()
    for number, found in enumerate(rows):
        for name in ("image_url", "sha256", "license", "creator", "page_url", "title"):
            assert found[name] == row(number)[name]
        assert "image" not in found
    assert "data:image/webp" not in (tmp_path / "out/stats.html").read_text()
    assert not check_data(tmp_path / "out").problems
    with pytest.raises(CatalogError, match="WebDataset shards have images"):
        release_data(catalog, tmp_path / "other", tag="c-v1", images=False, format="webdataset")


def documented(folder: Path) -> Any:
    """`is_removed` of the code in a released README.md."""
    (code,) = (
        each
        for each in re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        if "is_removed" in each
    )
    names: dict[str, Any] = {}
    exec(code.replace('"removed.parquet"', repr(str(folder / "removed.parquet"))), names)
    return names["is_removed"]


def test_a_filter_that_names_a_person_is_not_published(catalog: Catalog, tmp_path: Path) -> None:
    save_filter(Catalog.open(catalog.uri), "c-v2", "creator != 'Zoë Nobody'")
    release_data(catalog.uri, tmp_path / "out", tag="c-v2")
    assert not [text for text in contents(tmp_path / "out") if "Nobody" in text]
    assert "leaves out, by condition: a further condition" in (tmp_path / "out/datasheet.md").read_text()


def test_who_holds_a_former_release_finds_what_to_delete(catalog: Catalog, tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("v1", "v2", "v3"))
    release_data(catalog, first, tag="c-v1", format="webdataset")
    held = [each for batch in DataFolder(first).batches(["image_id", "sha256"]) for each in batch]
    assert not any(map(documented(first), held))
    takedown(catalog.uri, creator="https://photos.example/people/1", reason="asked by Jane Doe")
    gone = {f"photos:{number:02}" for number in (1, 5, 9)}
    released = release_data(catalog.uri, second, tag="c-v1", since=first)
    assert (released.removed, released.removed_since) == (3, 3)
    assert {each["image_id"] for each in held if documented(second)(each)} == gone
    assert "3 images of the former release were taken down" in (second / "README.md").read_text()
    takedown(catalog.uri, id=["photos:02"], reason="asked")
    released = release_data(catalog.uri, third, tag="c-v1", since=second, images=False)
    assert released.removed_since == 1
    assert {each["image_id"] for each in held if documented(third)(each)} == {*gone, "photos:02"}
    listed = pandas.read_parquet(third / "removed.parquet")
    assert list(listed) == ["key"]
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in listed["key"])
    assert "Jane Doe" not in "".join(contents(second))
    (first / "removed.parquet").write_bytes((third / "removed.parquet").read_bytes())
    (found,) = (each for each in check_data(first).findings if each.check == "removed")
    assert found.verdict == "problem" and found.details[0].startswith("4 images that removed.parquet lists")


def test_rows_that_were_only_selected_away_are_not_called_removed(catalog: Catalog, tmp_path: Path) -> None:
    release_data(catalog, tmp_path / "v1", tag="c-v1")
    save_filter(Catalog.open(catalog.uri), "c-v2", "license = 'CC0-1.0'")
    released = release_data(catalog.uri, tmp_path / "v2", tag="c-v2", since=tmp_path / "v1")
    assert (released.removed, released.removed_since) == (0, 0)
    assert "9 more are not in this one for other reasons" in (tmp_path / "v2/datasheet.md").read_text()
    with pytest.raises(CatalogError, match="keep the former release"):
        release_data(catalog.uri, tmp_path / "v1", tag="c-v1", since=tmp_path / "v1")
    (tmp_path / "v1/README.md").unlink()
    with pytest.raises(CatalogError, match=r"v1 is no complete release: .* has no README\.md"):
        release_data(catalog.uri, tmp_path / "v3", tag="c-v2", since=tmp_path / "v1")


def test_a_takedown_during_the_release_is_in_none_of_its_files(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = data.write_sums, 0

    def during(*how: Any, **more: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            takedown(catalog.uri, id=["photos:03"], reason="asked")
        write(*how, **more)

    monkeypatch.setattr(data, "write_sums", during)
    released = release_data(catalog.uri, tmp_path / "out", tag="c-v1")
    assert (calls, released.exported.rows, released.removed) == (2, ROWS - 1, 1)
    for text in contents(tmp_path / "out"):
        assert "photos:03" not in text and "photos.example/3" not in text
    assert f"{ROWS - 1} images by" in (tmp_path / "out/datasheet.md").read_text()
    assert not check_data(tmp_path / "out", catalog.uri).problems


def test_stopped_at_any_file_it_goes_on_and_ends_complete(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception): ...

    replace, left = Path.replace, 0

    def stops(path: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopped
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stops)
    for allowed in range(40):
        left = allowed
        try:
            release_data(catalog, tmp_path / "out", tag="c-v1", shard_size="7")
            break
        except Stopped:
            assert not (tmp_path / "out").exists()
    assert allowed > 10
    monkeypatch.undo()
    assert not check_data(tmp_path / "out", catalog.uri).problems
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix == ".part"]
    release_data(catalog, tmp_path / "whole", tag="c-v1", shard_size="7")
    for path in sorted((tmp_path / "whole/data").iterdir()):
        assert path.read_bytes() == (tmp_path / "out/data" / path.name).read_bytes()


def test_credits_have_one_line_for_each_image(catalog: Catalog, tmp_path: Path) -> None:
    catalog.add([to_batch([row(81)])])
    release_data(catalog, tmp_path / "out", tag="c-v1")
    with (tmp_path / "out/credits.csv").open(encoding="utf-8", newline="") as file:
        assert [line["image_id"] for line in csv.DictReader(file)] == IDS


def test_a_tag_that_is_not_there_is_named(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no tag c-v9"):
        release_data(catalog, tmp_path / "out", tag="c-v9")
    assert not list(tmp_path.glob("out*"))
