"""Export: what other tools open is what the catalog has, with everybody credited and nothing that may not be shared."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from commoncanvas import licenses
from commoncanvas.catalog import Catalog, export, import_, save_filter, takedown
from commoncanvas.catalog.export.command import ShardSize
from commoncanvas.catalog.importing.sources import SourceOptions, make_source
from commoncanvas.core.errors import CatalogError, SourceError
from commoncanvas.images.image import encode_image
from commoncanvas.table.schema import to_batch

export_module = importlib.import_module("commoncanvas.catalog.export.command")
ROWS = 47
LICENSES = ("CC-BY-2.0", "CC0-1.0", "CC-BY-NC-SA-4.0", "CC-BY-SA-3.0-DE")
needs = {
    name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} isn't installed")
    for name in ("datasets", "mlcroissant", "webdataset")
}


def stored(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    return encode_image(pixels, "png" if number % 3 else "jpeg")


def row(number: int) -> dict[str, Any]:
    return {
        "image_id": f"photos:{number:02}",
        "source": "photos",
        "title": f"Photo | {number} “ä”\n# no heading",
        "description": None if number % 2 else "=1+1",
        "tags": ["a", "b"] if number % 2 else None,
        "creator": f"Person <{number % 5}>",
        "creator_url": f"https://photos.example/people/{number % 5}",
        "page_url": f"https://photos.example/{number}",
        "image_url": f"file:///home/somebody/{number}.jpg"
        if number % 2
        else f"https://live.example/{number}.jpg",
        "license": LICENSES[number % len(LICENSES)],
        "label": f"text {number}" if number % 3 == 0 else None,
        "image": stored(number),
        "width": 32,
        "height": 24,
        "phash": 2**63 + number,
        "fetch_status": "ok",
    }


HIDDEN = [
    {**row(90), "license": "unknown"},
    {**row(91), "license": None},
    {**row(92), "license": "all-rights-reserved"},
    {**row(93), "license": "CC-BY-7.0"},
    {**row(94), "fetch_status": "not_found", "image": None},
]


class Latents:
    name = "latents"
    reads = ("image",)
    writes = (pa.field("latent", pa.list_(pa.float16(), 4)), pa.field("caption", pa.string()))
    done_column = "latent"
    batch_size = 100
    todo = "latent IS NULL"

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        latents = pa.array([np.zeros(4, np.float16)] * len(batch), self.writes[0].type)
        return pa.RecordBatch.from_arrays(
            [latents, pa.array(["said"] * len(batch))], schema=pa.schema(self.writes)
        )


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog.create(tmp_path / "catalog.lance")
    catalog.add([to_batch([*map(row, range(ROWS)), *HIDDEN])])
    catalog.backfill(Latents())
    return catalog


def tars(folder: Path) -> dict[str, dict[str, bytes]]:
    """Key -> ending -> bytes, over all shards."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted((folder / "data").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                data = tar.extractfile(member)
                assert data is not None
                found.setdefault(key, {})[ending] = data.read()
    return found


def digest(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def test_a_webdataset_has_every_byte_its_provenance_and_its_text(catalog: Catalog, tmp_path: Path) -> None:
    report = export("webdataset", catalog, tmp_path / "out", shard_size="10")
    assert (report.rows, report.shards) == (ROWS, 5)
    found = tars(tmp_path / "out")
    assert len(found) == ROWS
    for number, files in enumerate(found.values()):
        fields = json.loads(files["json"])
        assert files["jpg" if number % 3 == 0 else "png"] == stored(number)
        assert files["txt"].decode() == (f"text {number}" if number % 3 == 0 else "said")
        for name in (
            "image_id",
            "title",
            "creator",
            "creator_url",
            "page_url",
            "license",
            "tags",
            "phash",
            "label",
        ):
            assert fields[name] == row(number)[name]
        assert fields["caption"] == "said"
        assert "somebody" not in str(fields)
        assert licenses.parse(fields["license"]).name in fields["credit"]
        assert not {"image", "latent", "fetch_status"} & fields.keys()


@needs["webdataset"]
def test_webdatasets_own_reader_decodes_it(catalog: Catalog, tmp_path: Path) -> None:
    import webdataset

    export("webdataset", catalog, tmp_path / "out", shard_size="20")
    urls = [str(path) for path in sorted((tmp_path / "out" / "data").glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert len(samples) == ROWS
    for number, sample in enumerate(samples):
        image = sample["jpg"] if number % 3 == 0 else sample["png"]
        assert np.array_equal(image, np.array(Image.open(io.BytesIO(stored(number))).convert("RGB")))
        assert sample["json"]["image_id"] == f"photos:{number:02}"


@pytest.mark.parametrize("format", ["parquet", "huggingface"])
def test_parquet_keeps_the_bytes_and_says_that_they_are_images(
    catalog: Catalog, tmp_path: Path, format: str
) -> None:
    export(format, catalog, tmp_path / "out", shard_size="15")
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out" / "data").glob("*.parquet"))]
    rows = [each for table in tables for each in table.to_pylist()]
    assert [each["image"]["bytes"] for each in rows] == [stored(number) for number in range(ROWS)]
    assert [each["title"] for each in rows] == [row(number)["title"] for number in range(ROWS)]
    described = json.loads(tables[0].schema.metadata[b"huggingface"])["info"]["features"]
    assert described["image"] == {"_type": "Image"}
    assert list(described) == tables[0].column_names
    assert (
        max(pq.ParquetFile(tmp_path / "out/data/train-00000.parquet").metadata.row_group(0).num_rows, 1)
        <= 100
    )


@needs["datasets"]
@pytest.mark.parametrize("format", ["parquet", "huggingface"])
def test_load_dataset_opens_the_folder_with_the_images_decoded(
    catalog: Catalog, tmp_path: Path, format: str
) -> None:
    import datasets

    export(format, catalog, tmp_path / "out", shard_size="20")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    images = loaded["train"]
    assert len(images) == ROWS
    assert isinstance(images.features["image"], datasets.Image)
    for number in (0, 1, 46):
        decoded = np.array(images[number]["image"].convert("RGB"))
        assert np.array_equal(decoded, np.array(Image.open(io.BytesIO(stored(number))).convert("RGB")))
        assert images[number]["tags"] == row(number)["tags"]
        assert images[number]["phash"] == row(number)["phash"]
    assert images[3]["license"] == LICENSES[3]


@needs["mlcroissant"]
@pytest.mark.parametrize("format", ["webdataset", "parquet", "huggingface"])
def test_mlcroissants_own_reader_finds_no_fault_and_reads_the_rows(
    catalog: Catalog, tmp_path: Path, format: str
) -> None:
    import mlcroissant

    export(format, catalog, tmp_path / "out", shard_size="20")
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "out" / "croissant.json")
    assert not dataset.metadata.issues.errors
    assert not dataset.metadata.issues.warnings
    records = list(dataset.records("images"))
    assert [each["images/image_id"].decode() for each in records] == [
        f"photos:{number:02}" for number in range(ROWS)
    ]
    assert records[4]["images/creator"].decode() == "Person <4>"
    if format != "webdataset":
        assert records[0]["images/image"].size == (32, 24)
    written = json.loads((tmp_path / "out" / "croissant.json").read_text())
    files = {file["contentUrl"]: file for file in written["distribution"] if "contentUrl" in file}
    assert {f"data/{name}" for name in digest(tmp_path / "out")} | {"credits.csv"} == files.keys()


@needs["datasets"]
@needs["mlcroissant"]
def test_links_have_no_image_but_all_that_is_needed_to_fetch_it_again(
    catalog: Catalog, tmp_path: Path
) -> None:
    import datasets
    import mlcroissant

    out = tmp_path / "out"
    report = export("links", catalog, out, shard_size="10")
    reachable = [number for number in range(ROWS) if number % 2 == 0]
    assert report.rows == len(reachable)
    assert report.left_out["without a web address"] == ROWS - len(reachable)
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"), split="train")
    assert "image" not in loaded.column_names
    assert loaded["image_url"] == [row(number)["image_url"] for number in reachable]
    described = mlcroissant.Dataset(jsonld=out / "croissant.json")
    assert len(list(described.records("images"))) == len(reachable)
    again = import_("table", tmp_path / "again.lance", sorted((out / "data").iterdir()), id_column="image_id")
    assert again.new == len(reachable)
    links = Catalog.open(tmp_path / "again.lance").table(["image_url", "license", "creator"]).to_pylist()
    assert {each["image_url"]: each["creator"] for each in links} == {
        row(number)["image_url"]: row(number)["creator"] for number in reachable
    }


def test_no_place_on_the_exporters_machine_is_written(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "catalog.lance")
    hidden = {"image_url": "/home/somebody/a.jpg", "image_url_2": "file:///home/somebody/b.jpg"}
    model = pa.field("caption_model", pa.string())
    batch = to_batch([{**row(1), **hidden, "caption_model": "/home/somebody/captioner"}], [model])
    catalog.add_columns([model])
    catalog.add([batch])
    export("webdataset", catalog, tmp_path / "out")
    (files,) = tars(tmp_path / "out").values()
    assert "somebody" not in files["json"].decode()
    assert json.loads(files["json"])["caption_model"] == "captioner"


def test_the_tag_of_a_filter_gives_its_rows_with_the_columns_made_since(
    tmp_path: Path,
) -> None:
    catalog = Catalog.create(tmp_path / "catalog.lance")
    catalog.add([to_batch(map(row, range(4)))])
    save_filter(catalog, "cc0", "license = 'CC0-1.0' OR license = 'CC-BY-2.0'")
    catalog.add([to_batch([row(8)])])
    catalog.backfill(Latents())
    export("webdataset", catalog.uri, tmp_path / "out", version="cc0")
    found = [json.loads(files["json"]) for files in tars(tmp_path / "out").values()]
    assert [each["image_id"] for each in found] == ["photos:00", "photos:01"]
    assert {each["caption"] for each in found} == {"said"}


def test_what_may_not_be_shared_is_never_exported_and_counted(catalog: Catalog, tmp_path: Path) -> None:
    takedown(catalog, id=["photos:07"], reason="asked")
    for version in (None, catalog.version - 1):  # the older one still has the row
        out = tmp_path / f"out-{version}"
        report = export("webdataset", catalog.uri, out, version=version)
        ids = {json.loads(files["json"])["image_id"] for files in tars(out).values()}
        assert ids == {f"photos:{number:02}" for number in range(ROWS) if number != 7}
        assert report.left_out["unknown licence"] == 3
        assert report.left_out["licence all-rights-reserved"] == 1
        assert report.left_out["not fetched"] == 1
    assert report.left_out["taken down"] == 1


def test_the_data_card_has_the_hubs_header_and_counts_licences_and_creators(
    catalog: Catalog, tmp_path: Path
) -> None:
    report = export("huggingface", catalog, tmp_path / "my set")
    text = (tmp_path / "my set" / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == ["cc-by-2.0", "cc-by-nc-sa-4.0", "cc0-1.0", "other"]
    assert header["size_categories"] == ["n<1K"]
    assert header["dataset_info"]["splits"][0]["num_examples"] == ROWS
    for license, count in report.licenses.items():
        known = licenses.parse(license)
        assert f"| [{known.name}]({known.url}) | {count} |" in text
    assert "12 images may not be used commercially" in text
    assert r"| Person \<0\> | 10 |" in text
    with (tmp_path / "my set" / "credits.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["image_id"] for line in lines] == [f"photos:{number:02}" for number in range(ROWS)]
    assert "somebody" not in text + str(lines)


def test_one_licence_is_the_licence_of_the_whole(catalog: Catalog, tmp_path: Path) -> None:
    report = export("parquet", catalog, tmp_path / "out", where="license = 'CC0-1.0'")
    header = yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---\n")[1])
    assert header["license"] == "cc0-1.0"
    assert report.rows == 12


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_a_missing_shard_is_written_again_the_same_and_the_others_are_left(
    catalog: Catalog, tmp_path: Path, format: str
) -> None:
    out = tmp_path / "out"
    export(format, catalog, out, shard_size="9")
    before = digest(out)
    paths = sorted((out / "data").iterdir())
    times = {path.name: path.stat().st_mtime_ns for path in paths}
    paths[2].unlink()
    paths[4].write_bytes(b"half")
    catalog.add([to_batch([row(60)])])  # not part of what was begun
    export(format, catalog.uri, out, shard_size="9")
    assert digest(out) == before
    changed = {path.name for path in paths if path.stat().st_mtime_ns != times[path.name]}
    assert changed == {paths[2].name, paths[4].name}


def test_shards_end_at_a_size_of_images(catalog: Catalog, tmp_path: Path) -> None:
    report = export("webdataset", catalog, tmp_path / "out", shard_size="10kB")
    sizes = [
        sum(len(stored(int(json.loads(files["json"])["image_id"][-2:]))) for files in shard.values())
        for shard in _by_shard(tmp_path / "out")
    ]
    assert report.shards == len(sizes) > 3
    assert all(10_000 <= size < 10_000 + 4_000 for size in sizes[:-1])


def _by_shard(folder: Path) -> list[dict[str, dict[str, bytes]]]:
    found = []
    for path in sorted((folder / "data").glob("*.tar")):
        with tarfile.open(path) as tar:
            keys = {member.name.partition(".")[0] for member in tar}
        found.append({key: files for key, files in tars(folder).items() if key in keys})
    return found


@pytest.mark.parametrize("format", ["webdataset", pytest.param("huggingface", marks=pytest.mark.heavy)])
@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_it_ends_as_one_never_killed(
    catalog: Catalog, tmp_path: Path, format: str
) -> None:
    export(format, catalog, tmp_path / "whole", shard_size="1")
    command = [sys.executable, "-m", "commoncanvas", "catalog", "export", format, "--catalog", catalog.uri]
    command += ["--out", str(tmp_path / "killed"), "--shard-size", "1"]
    draw, kills = random.Random(1), 0
    for _ in range(8):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy()
        )
        before = len(list(tmp_path.glob("killed*/data/*")))
        while process.poll() is None and len(list(tmp_path.glob("killed*/data/*"))) == before:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.05))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait(timeout=60)
        for path in tmp_path.glob("killed*/data/train-*"):  # what has its name is whole
            assert path.read_bytes() == (tmp_path / "whole" / "data" / path.name).read_bytes()
        if (tmp_path / "killed").exists():
            assert digest(tmp_path / "killed") == digest(tmp_path / "whole")
            assert (tmp_path / "killed/README.md").is_file()
        elif (tmp_path / "killed.partial/.export/state.json").exists():
            with pytest.raises(
                SourceError,
                match=r"an incomplete export: .*killed.partial (has (\d+ of|no README)|was not renamed)",
            ):
                make_source("img2dataset", SourceOptions((tmp_path / "killed.partial",)))
    assert kills >= 2
    subprocess.run(command, check=True, capture_output=True)
    assert not (tmp_path / "killed.partial").exists()
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")
    assert (tmp_path / "killed/credits.csv").read_bytes() == (tmp_path / "whole/credits.csv").read_bytes()


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_an_export_has_its_name_only_when_all_of_it_is_there(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    class Stopped(Exception): ...

    out, partial = tmp_path / "out", tmp_path / "out.partial"
    rename, replace = Path.rename, export_module.replace_text
    steps = 0

    def counted(*words: Any) -> None:
        nonlocal steps
        steps -= 1
        if steps < 0:
            raise Stopped

    def renames(path: Path, name: Path) -> Path:
        counted()
        return rename(path, name)

    def writes(path: Path, text: str) -> None:
        counted()
        replace(path, text)

    monkeypatch.setattr(Path, "rename", renames)
    monkeypatch.setattr(export_module, "replace_text", writes)
    source = "img2dataset" if format == "webdataset" else "huggingface"
    for allowed in range(20):
        steps = allowed
        try:
            export(format, catalog, out, shard_size="9")
            break
        except Stopped:
            assert not out.exists()
        if (partial / "data").exists():
            for path in (partial, partial / "data"):
                with pytest.raises(
                    SourceError,
                    match=r"an incomplete export: .*out.partial (has (\d+ of|no README)|was not renamed)",
                ):
                    make_source(source, SourceOptions((path,)))
    assert allowed > 2
    assert not partial.exists()
    assert (out / "README.md").read_text().splitlines()[0] == "---"
    assert "out.partial" not in (out / "README.md").read_text()
    make_source(source, SourceOptions((out,)))
    next((out / "data").iterdir()).unlink()
    with pytest.raises(SourceError, match=r"of its 47 rows"):
        make_source(source, SourceOptions((out,)))


def test_an_export_that_was_cut_off_in_its_place_by_an_older_version_goes_on(
    catalog: Catalog, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export("parquet", catalog, out, shard_size="9")
    before = digest(out)
    (out / "README.md").unlink()
    with pytest.raises(SourceError, match=r"has no README.md; run the export again"):
        make_source("huggingface", SourceOptions((out,)))
    export("parquet", catalog, out, shard_size="9")
    assert digest(out) == before
    assert (out / "README.md").is_file()


def test_what_stands_where_an_export_is_written_is_left_alone(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "notes.txt").write_text("mine")
    with pytest.raises(CatalogError, match=r"out.partial already exists and is not an export"):
        export("parquet", catalog, tmp_path / "out")


def test_an_export_begun_before_a_takedown_is_not_finished_with_the_row(
    catalog: Catalog, tmp_path: Path
) -> None:
    export("parquet", catalog, tmp_path / "out", shard_size="9")
    next((tmp_path / "out" / "data").iterdir()).unlink()
    takedown(catalog, id=["photos:07"], reason="asked")
    with pytest.raises(CatalogError, match="rows may have been taken down since"):
        export("parquet", catalog, tmp_path / "out", shard_size="9")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "zip"}, "no export format zip; there are: webdataset"),
        ({"shard_size": "big"}, "shard size 'big' is neither"),
        ({"shard_size": "0"}, "shard size '0'"),
        ({"where": "nosuch = 1"}, "filter .* is not valid"),
        ({"where": "license = 'unknown'"}, "nothing to export: 1 unknown licence"),
        ({"version": 999}, "no version 999"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_folder_of_data(
    catalog: Catalog, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    arguments = {"format": "parquet", "catalog": catalog.uri, "out": tmp_path / "out", **changes}
    with pytest.raises(CatalogError, match=message) as raised:
        export(**arguments)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "data").exists()


def test_a_folder_of_something_else_is_left_alone(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(CatalogError, match="mine already exists and is not an export"):
        export("parquet", catalog, tmp_path / "mine")
    export("parquet", catalog, tmp_path / "out")
    with pytest.raises(CatalogError, match=r"holds another export .*format"):
        export("webdataset", catalog, tmp_path / "out")


@given(st.integers(1, 10**6), st.sampled_from(["B", "kB", "MB", "GB", "TB", "gb", " MB"]))
def test_a_size_is_read_as_people_write_it(number: int, unit: str) -> None:
    factor = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}[unit.strip().lower()]
    assert ShardSize.of(f"{number}{unit}") == ShardSize(None, number * factor)
    assert ShardSize.of(str(number)) == ShardSize(number, None)


def test_a_takedown_during_an_export_is_not_in_it(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = export_module.write_papers
    calls = 0

    def during(*how: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            takedown(catalog.uri, id=["photos:03", "photos:20"], reason="asked")
        return write(*how)

    monkeypatch.setattr(export_module, "write_papers", during)
    report = export("webdataset", catalog.uri, tmp_path / "out", shard_size="20")
    assert (report.rows, report.left_out["taken down"]) == (ROWS - 2, 2)
    shown = " ".join(capsys.readouterr().err.split())
    assert "2 rows taken down during the export; it is written again without them" in shown
    assert not {"photos:03", "photos:20"} & {
        json.loads(files["json"])["image_id"] for files in tars(tmp_path / "out").values()
    }
    credited = (tmp_path / "out/credits.csv").read_text()
    assert "photos.example/20" not in credited
    assert not list(tmp_path.glob("*.partial"))


def test_places_that_can_t_be_renamed_are_refused_first(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here/in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here/in")
    for out in (".", "..", tmp_path / "here", "/", "in/../.", Path.home()):
        with pytest.raises(CatalogError, match="choose a separate folder"):
            export("parquet", catalog, out)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "disk")
    with pytest.raises(CatalogError, match="disk is a mount point"):
        export("parquet", catalog, tmp_path / "disk")
    assert not list((tmp_path / "here").rglob("*.parquet"))


def test_an_export_goes_where_a_link_leads(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "disk/exports").mkdir(parents=True)
    (tmp_path / "out").symlink_to("disk/exports")
    assert export("parquet", catalog, tmp_path / "out").rows == ROWS
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk/exports/README.md").is_file()


def test_an_export_of_nothing_leaves_nothing(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="nothing to export"):
        export("parquet", catalog, tmp_path / "out", where="image_id = 'none'")
    assert not list(tmp_path.glob("out*"))
