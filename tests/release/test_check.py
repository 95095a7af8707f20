"""A model folder that was changed, or whose images were taken down, is found out before it is published."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from commoncanvas.catalog import takedown
from commoncanvas.catalog.credits import read_credits
from commoncanvas.cli import main
from commoncanvas.core.errors import CatalogError, ModelError
from commoncanvas.release.check import CHECKS, check_model
from commoncanvas.release.model_folder import ModelFolder

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "xs"))


def verdicts(folder: Path, **options: Any) -> dict[str, str]:
    return {each.check: each.verdict for each in check_model(folder, **options).findings}


def test_a_folder_as_it_was_trained_has_no_problem(model: Path) -> None:
    assert verdicts(model) == dict.fromkeys(CHECKS, "ok") | {"sums": "not checked"}
    for part in ("xs-autoencoder",):
        assert not check_model(model.parent / part).problems


def edit(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change a JSON file of the folder."""

    def changed(folder: Path) -> None:
        path = folder / name
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))

    return changed


def other_weights(folder: Path) -> None:
    tensors = load_file(folder / UNET)
    tensors["conv_out.bias"] += 1e-6
    save_file(tensors, folder / UNET)


def more_weights(folder: Path) -> None:
    shutil.copy(folder / UNET, folder / "unet" / "more.safetensors")


def rows(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    return lambda folder: pq.write_table(
        change(pq.read_table(folder / "rows.parquet")), folder / "rows.parquet"
    )


def column(table: pa.Table, name: str, place: int, value: str) -> pa.Table:
    values = table[name].to_pylist()
    values[place] = value
    return table.set_column(
        table.column_names.index(name), name, pa.array(values, table.schema.field(name).type)
    )


def first(table: pa.Table, split: str) -> int:
    return int(table["split"].to_pylist().index(split))


def fewer_credits(folder: Path) -> None:
    with (folder / "credits.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    trained = pq.read_table(folder / "rows.parquet").to_pylist()
    gone = {row["image_id"] for row in trained if row["split"] == "train"}
    with (folder / "credits.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *(line for line in lines if line[0] not in gone)])


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        (lambda folder: (folder / "README.md").unlink(), "files", "README.md is missing"),
        (lambda folder: (folder / "credits.csv").unlink(), "files", "credits.csv is missing"),
        (
            lambda folder: shutil.rmtree(folder / "tokenizer"),
            "files",
            "tokenizer/, a part of model_index.json",
        ),
        (other_weights, "weights", f"{UNET} has other weights than provenance.json states"),
        (more_weights, "weights", "unet/more.safetensors is not in provenance.json"),
        (lambda folder: (folder / UNET).unlink(), "weights", f"{UNET} is missing"),
        (lambda folder: (folder / UNET).write_bytes(b"\x00" * 99), "formats", f"{UNET} can't be read"),
        (lambda folder: (folder / "unet/x.PT").touch(), "formats", "unet/x.PT may be a pickle"),
        (
            edit("provenance.json", lambda r: r.update(result_license="CC0-1.0")),
            "licence",
            "states licence CC0-1.0",
        ),
        (
            rows(lambda table: column(table, "license", first(table, "train"), "CC-BY-NC-ND-4.0")),
            "licence",
            "images under CC-BY-NC-ND-4.0, which policy noncommercial does not allow",
        ),
        (
            lambda folder: (folder / "README.md").write_text("---\nlicense: mit\n---\n"),
            "licence",
            "README.md states licence mit, not cc-by-sa-4.0",
        ),
        (rows(lambda table: table.slice(1)), "rows", "rows of split"),
        (
            rows(lambda table: column(table, "text", 0, "another text")),
            "rows",
            "other images, splits or texts",
        ),
        (rows(lambda table: table.drop_columns(["catalog"])), "rows", "lacks catalog"),
        (lambda folder: (folder / "rows.parquet").write_bytes(b"x"), "rows", "can't be read"),
        (fewer_credits, "credits", "images without a credit: shapes:"),
    ],
)
def test_what_was_changed_is_named(copy: Path, change: Callable[[Path], Any], check: str, says: str) -> None:
    change(copy)
    (found,) = (each for each in check_model(copy).findings if each.check == check)
    assert found.verdict == "problem" and any(says in line for line in found.details), found


def test_sums_are_read_as_sha256sum_writes_them(copy: Path) -> None:
    names = ["README.md", UNET]
    digests = [hashlib.sha256((copy / name).read_bytes()).hexdigest() for name in names]
    (copy / "SHA256SUMS").write_text(
        "".join(f"{each}  {name}\n" for each, name in zip(digests, names, strict=True))
    )
    assert verdicts(copy)["sums"] == "ok"
    (copy / "README.md").write_text("changed")
    (found,) = (each for each in check_model(copy).findings if each.check == "sums")
    assert found.details == ("README.md has other bytes than SHA256SUMS states",)


def test_sums_that_lead_out_of_the_folder_are_not_read(copy: Path) -> None:
    (copy.parent / "secret").write_text("x")
    digest = hashlib.sha256(b"x").hexdigest()
    (copy / "SHA256SUMS").write_text(f"{digest}  ../secret\n{digest}  {copy.parent / 'secret'}\n")
    (found,) = (each for each in check_model(copy).findings if each.check == "sums")
    assert found.verdict == "problem" and all("leads out of the folder" in line for line in found.details)
    assert len(found.details) == 2


@pytest.mark.parametrize("text", ["[]", '{"unet": [[]]}', '{"unet": []}', "3", "{"])
def test_a_pipeline_of_any_shape_is_a_finding_and_no_traceback(copy: Path, text: str) -> None:
    (copy / "model_index.json").write_text(text)
    (copy / "README.md").write_text("---\n- a\n---\n")
    assert set(verdicts(copy)) == set(CHECKS)
    assert verdicts(copy)["licence"] == "problem"


def test_an_image_that_was_taken_down_since_is_named(copy: Path, model: Path, tmp_path: Path) -> None:
    place = tmp_path / "moved.lance"
    shutil.copytree(model.parent / "catalog.lance", place)
    record = json.loads((copy / "provenance.json").read_text())
    record["catalogs"]["main"]["uri"] = str(tmp_path / "gone.lance")
    (copy / "provenance.json").write_text(json.dumps(record))
    (unknown,) = (each for each in check_model(copy).findings if each.check == "takedowns")
    assert (
        unknown.verdict == "not checked"
        and "if it has moved, give its new place: --catalog URI" in unknown.details[0]
    )
    assert verdicts(copy, catalog=str(place))["takedowns"] == "ok"
    table = pq.read_table(copy / "rows.parquet")
    gone = table["image_id"][first(table, "train")].as_py()
    takedown(place, id=[gone], reason="asked")
    (found,) = (each for each in check_model(copy, str(place)).findings if each.check == "takedowns")
    assert found.verdict == "problem" and gone in found.details[0]


@pytest.mark.parametrize("by", ["id", "creator"])
def test_a_purge_that_deletes_the_trained_version_hides_nothing(
    copy: Path, model: Path, tmp_path: Path, by: str
) -> None:
    place = tmp_path / "moved.lance"
    shutil.copytree(model.parent / "catalog.lance", place)
    rows = pq.read_table(copy / "rows.parquet")
    own = set(rows["image_id"].to_pylist())
    gone = rows["image_id"][first(rows, "train")].as_py()
    every = {each.image_id: each.creator for each in read_credits(copy / "credits.csv")}
    takedown(
        place, **({"id": [gone]} if by == "id" else {"creator": every[gone]}), reason="asked", purge=True
    )
    with pytest.raises(CatalogError):
        _ = ModelFolder(copy, [str(place)]).catalogs
    (found,) = (each for each in check_model(copy, str(place)).findings if each.check == "takedowns")
    assert found.verdict == "problem" and gone in found.details[0]
    assert len(found.details) == (1 if by == "id" else 2)
    (part, *_) = sorted(set(every) - own)
    takedown(place, id=[part], reason="asked")
    (found,) = (each for each in check_model(copy, str(place)).findings if each.check == "takedowns")
    assert any("which its parts learned from" in line and part in line for line in found.details)


def test_the_command_ends_with_an_error_if_there_is_a_problem(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> int:
        monkeypatch.setattr(sys, "argv", ["commoncanvas", "release", "check", str(copy), "--json"])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    assert run() == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [each["check"] for each in findings] == list(CHECKS)
    other_weights(copy)
    assert run() == 2
    assert "1 check found a problem" in capsys.readouterr().err


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no provenance\.json"):
        check_model(tmp_path)
