"""Which models saw an image: what the rows and credits of a model's folder say, whatever their number and order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.credits import FIELDS, Credit, write_credits
from commoncanvas.core.errors import ModelError
from commoncanvas.provenance.seen import Seen, seen
from commoncanvas.site.parts import Site
from commoncanvas.site.which_models import which_models

BUILT_ON = {"built_on": [{"role": "vae", "origin": {"name": "autoencoder"}}]}


def write_rows(folder: Path, rows: list[tuple[str, str, str]], group: int = 3) -> None:
    names = ("image_id", "catalog", "split")
    columns = {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(names)}
    pq.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=group)


def credit(image_id: str, **more: Any) -> Credit:
    return Credit(**dict.fromkeys(FIELDS) | {"image_id": image_id} | more)


IDS = st.sampled_from([f"p:{number}" for number in range(12)])


@given(
    st.lists(st.tuples(IDS, st.sampled_from(["a", "b"]), st.sampled_from(["train", "heldout"]))),
    st.lists(IDS, unique=True),
    st.lists(IDS, min_size=1),
)
def test_each_image_is_found_in_any_row_group(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    credits: list[str],
    asked: list[str],
) -> None:
    folder = tmp_path_factory.mktemp("model")
    write_rows(folder, rows)
    write_credits(map(credit, credits), "csv", folder / "credits.csv")
    for one, found in seen(folder, BUILT_ON, asked).items():
        mine = [(catalog, split) for image_id, catalog, split in rows if image_id == one]
        assert found == Seen(tuple(mine), one in credits)


def test_a_file_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    write_rows(tmp_path, [("p:1", "main", "train")])
    assert seen(tmp_path, {}, ["p:1"])["p:1"].splits == (("main", "train"),)
    write_rows(tmp_path, [("p:2", "main", "train"), ("p:3", "main", "train")])
    assert seen(tmp_path, {}, ["p:1"])["p:1"].splits == ()


def test_files_that_can_not_be_read_are_an_error_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text("no Parquet")
    with pytest.raises(ModelError, match=r"rows.parquet can't be read"):
        seen(tmp_path, {}, ["p:1"])


def release_of(folder: Path, name: str, **record: Any) -> Path:
    """A folder that says of itself what `record` says."""
    folder.mkdir()
    main = {"uri": "elsewhere.lance", "tag": "train-x-v1", "version": 1}
    known = {
        "name": name,
        "task": "diffusion",
        "catalogs": {"main": main},
        "rows": {},
        "licenses": {},
        "creators": 1,
        "result_license": None,
        "built_on": [],
    }
    (folder / "provenance.json").write_text(json.dumps(known | record))
    return folder


def test_what_each_model_saw_of_the_images_of_a_catalog(shapes: Catalog, model: Path, tmp_path: Path) -> None:
    rows = {
        row["image_id"]: row["split"]
        for row in pq.read_table(model / "rows.parquet", columns=["image_id", "split"]).to_pylist()
    }
    trained = next(one for one, split in rows.items() if split == "train")
    held = next(one for one, split in rows.items() if split == "heldout")
    other = release_of(tmp_path / "other", "other")
    write_rows(other, [(trained, "main", "train")])
    credited = release_of(tmp_path / "credited", "credited")
    write_credits([credit(held)], "csv", credited / "credits.csv")
    part = release_of(tmp_path / "part", "part", **BUILT_ON)
    write_rows(part, [(held, "main", "heldout")])
    write_credits([credit(held)], "csv", part / "credits.csv")
    silent = release_of(tmp_path / "silent", "silent")
    broken = release_of(tmp_path / "broken", "broken")
    (broken / "rows.parquet").write_bytes(b"PAR1")

    site = Site(catalogs={"cc": shapes}, models=(model, other, credited, part, silent, broken))
    found = which_models(site, "cc", [trained, held, "no:such"])
    learned = {one: {sight.model: sight.learned for sight in sights} for one, sights in found.items()}
    name = json.loads((model / "provenance.json").read_text())["name"]
    unknown = {"silent": "unknown", "broken": "unknown"}
    assert learned[trained] == {name: "yes", "other": "yes", "credited": "no", "part": "no"} | unknown
    assert learned[held].pop(name) in ("held out", "part")
    assert learned[held] == {"other": "no", "credited": "yes", "part": "part"} | unknown
    assert learned["no:such"] == {name: "no", "other": "no", "credited": "no", "part": "no"} | unknown
    elsewhere = {sight.model: sight.elsewhere for sight in found[trained]}
    assert elsewhere["other"] == "main"


def test_a_catalog_that_has_moved_is_known_by_its_tag(model: Path, tmp_path: Path) -> None:
    record = json.loads((model / "provenance.json").read_text())
    (source,) = record["catalogs"].values()
    shutil.copytree(source["uri"], tmp_path / "moved.lance")
    site = Site(catalogs={"moved": Catalog.open(tmp_path / "moved.lance")}, models=(model,))
    trained = pq.read_table(model / "rows.parquet", filters=[("split", "=", "train")])["image_id"][0].as_py()
    (sight,) = which_models(site, "moved", [trained])[trained]
    assert (sight.learned, sight.elsewhere) == ("yes", None)


def test_two_folders_of_one_name_have_two_pages(tmp_path: Path) -> None:
    from commoncanvas.site.model_list import models_of

    folders = (release_of(tmp_path / "a", "ours"), release_of(tmp_path / "b", "ours"), tmp_path / "a")
    assert list(models_of(Site(models=folders))) == ["ours", "ours-2"]
