"""A data set in which one thing was changed is found out."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commoncanvas.catalog import takedown
from commoncanvas.cli import main
from commoncanvas.core.errors import CatalogError, ModelError
from commoncanvas.release.check_data import CHECKS, check_data
from commoncanvas.release.check_release import check_release
from commoncanvas.release.data import release_data
from commoncanvas.release.removed import SCHEMA, key_of
from commoncanvas.release.sums import write_sums
from tests.release.collection import ROWS, make_catalog

pytest.importorskip("mlcroissant")
SHARD = "data/train-00000.parquet"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    make_catalog(place / "cc.lance")
    release_data(place / "cc.lance", place / "set", tag="c-v1")
    return place


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "set", tmp_path / "set"))


def verdicts(folder: Path, **options: Any) -> dict[str, str]:
    return {each.check: each.verdict for each in check_data(folder, **options).findings}


def shard(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Path], None]:
    """Change the rows of the first shard."""

    def changed(folder: Path) -> None:
        table = pq.read_table(folder / SHARD)
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / SHARD)

    return changed


def without_column(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / SHARD).drop_columns(["credit"]), folder / SHARD)


def text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        before = (folder / name).read_text()
        assert old in before
        (folder / name).write_text(before.replace(old, new, 1))

    return changed


def croissant(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        found = json.loads((folder / "croissant.json").read_text())
        change(found)
        (folder / "croissant.json").write_text(json.dumps(found))

    return changed


def listed_as_removed(folder: Path) -> None:
    row = pq.read_table(folder / SHARD, columns=["image_id", "sha256"]).to_pylist()[4]
    key = key_of(row["image_id"], row["sha256"])
    pq.write_table(pa.table({"key": [key]}, SCHEMA), folder / "removed.parquet")


def test_a_data_set_as_it_was_released_has_no_problem(made: Path) -> None:
    assert verdicts(made / "set") == dict.fromkeys(CHECKS, "ok") | {"takedowns": "not checked"}
    assert verdicts(made / "set", catalog=made / "cc.lance") == dict.fromkeys(CHECKS, "ok")


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        (lambda folder: (folder / "LICENSE").unlink(), "files", "LICENSE is missing"),
        (lambda folder: (folder / "datasheet.md").unlink(), "files", "datasheet.md is missing"),
        (
            lambda folder: shutil.copy(folder / SHARD, folder / "data/more.parquet"),
            "files",
            "data/more.parquet is not in SHA256SUMS, but tools load it",
        ),
        (
            lambda folder: (folder / ".export/train-00000.parquet.json").unlink(),
            "files",
            f"not complete: .* has 0 of its {ROWS} rows",
        ),
        (text("README.md", "openly", "freely"), "sums", "README.md has other bytes than SHA256SUMS states"),
        (lambda folder: (folder / "data/x.PKL").touch(), "formats", "data/x.PKL may be a pickle"),
        (lambda folder: (folder / SHARD).write_bytes(b"x"), "formats", f"{SHARD} can't be read"),
        (without_column, "formats", f"{SHARD} has no column credit"),
        (
            shard(lambda rows: rows[2].update(license="CC-BY-9.0")),
            "licence",
            "1 image under CC-BY-9.0, which is not known: photos:02",
        ),
        (
            shard(lambda rows: rows[2].update(license="all-rights-reserved")),
            "licence",
            "1 image under all-rights-reserved, which does not let anyone share them: photos:02",
        ),
        (shard(lambda rows: rows[2].update(license=None)), "licence", "1 image under None"),
        (text("README.md", "- cc0-1.0", "- mit"), "licence", "README.md states licence"),
        (
            shard(lambda rows: rows[3].update(license="CC0-1.0")),
            "credits",
            "1 image without a credit .*: photos:03",
        ),
        (shard(lambda rows: rows[3].update(credit="")), "credits", "1 row with an empty column credit"),
        (shard(lambda rows: rows.append(rows[0])), "credits", "1 row repeat"),
        (shard(lambda rows: rows.pop(5)), "credits", "credits.csv has 1 line for images that are not"),
        (lambda folder: (folder / "credits.csv").unlink(), "credits", "can't be read"),
        (listed_as_removed, "removed", "1 image that removed.parquet lists: photos:04"),
        (
            lambda folder: pq.write_table(pa.table({"key": ["Jane Doe"]}), folder / "removed.parquet"),
            "removed",
            "not 64 hexadecimal digits",
        ),
        (lambda folder: (folder / "croissant.json").write_text("{"), "croissant", "Expecting"),
        (croissant(lambda found: found.update(conformsTo="x")), "croissant", "does not say that it conforms"),
        (
            croissant(lambda found: found.update({"@context": "https://elsewhere.example/context"})),
            "croissant",
            "loads its context from elsewhere",
        ),
        (
            croissant(lambda found: found["distribution"][0].update(sha256="0" * 64)),
            "croissant",
            "states another digest of credits.csv",
        ),
        (
            croissant(lambda found: found["recordSet"][0]["field"][0]["source"].update(fileSet={"@id": "x"})),
            "croissant",
            "this node doesn.t exist",
        ),
    ],
)
def test_what_was_changed_is_named(copy: Path, change: Callable[[Path], Any], check: str, says: str) -> None:
    change(copy)
    (found,) = (each for each in check_data(copy).findings if each.check == check)
    assert found.verdict == "problem" and any(re.search(says, line) for line in found.details), found


def test_a_tar_that_was_cut_off_is_named(made: Path, tmp_path: Path) -> None:
    release_data(made / "cc.lance", tmp_path / "set", tag="c-v1", format="webdataset")
    assert set(verdicts(tmp_path / "set").values()) == {"ok", "not checked"}
    path = tmp_path / "set/data/train-00000.tar"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert verdicts(tmp_path / "set")["formats"] == "problem"
    with tarfile.open(path, "w") as tar:
        tar.add(tmp_path / "set/README.md", "a.txt")
    (found,) = (each for each in check_data(tmp_path / "set").findings if each.check == "licence")
    assert found.verdict == "problem" and "sample a has no readable json" in found.details[0]


def test_an_image_that_was_taken_down_since_is_named(made: Path, copy: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(made / "cc.lance", tmp_path / "cc.lance"))
    takedown(place, url=["https://live.example/6.png"], reason="asked")
    (found,) = (each for each in check_data(copy, place).findings if each.check == "takedowns")
    assert found.verdict == "problem" and "1 image taken down since: photos:06" in found.details[0]
    with pytest.raises(CatalogError, match="no catalog at"):
        check_data(copy, tmp_path / "gone.lance")


def test_a_row_and_all_sums_that_were_replaced_are_still_found(copy: Path) -> None:
    shard(lambda rows: rows[1].update(license="unknown"))(copy)
    write_sums(copy, {}, [".export"])
    found = verdicts(copy)
    assert (found["sums"], found["licence"], found["croissant"]) == ("ok", "problem", "problem")


def test_one_command_checks_models_and_data(
    copy: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(folder: Path) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["commoncanvas", "release", "check", str(folder), "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        found = json.loads(capsys.readouterr().out)["findings"]
        return int(ended.value.code or 0), [each["check"] for each in found]

    assert run(copy) == (0, list(CHECKS))
    assert "weights" in run(model)[1]
    (copy / "LICENSE").unlink()
    assert run(copy)[0] == 2
    with pytest.raises(ModelError, match=r"has no provenance\.json, as a model has, and no data/"):
        check_release(tmp_path / "empty")
    with pytest.raises(CatalogError, match="has one catalog"):
        check_release(copy, ["a", "b"])
