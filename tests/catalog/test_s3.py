"""A catalog in an object store, by the same commands: a real S3 server (moto's) on loopback."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from commoncanvas.catalog import Catalog, FetchOptions, fetch, import_
from commoncanvas.core.errors import CatalogError
from commoncanvas.table.schema import to_batch
from tests.catalog.imports import picture

BUCKET = "commons"
URI = f"s3://{BUCKET}/cc.lance"
IMAGES = 120


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty store, which this process and its children find by the usual variables."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would print every request of a failed test
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    yield client
    server.stop()
    s3_backends.reset()  # it lives as long as this process


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collection")
    for number in range(IMAGES):
        (folder / f"{number:03}.jpg").write_bytes(picture(300, 200, seed=number))
    lines = [f"{n:03}.jpg,Picture {n},Painter {n % 4},CC-BY-4.0\n" for n in range(IMAGES)]
    (folder / "metadata.csv").write_text("file_name,title,creator,license\n" + "".join(lines))
    return folder


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "commoncanvas", "catalog", *words, "--catalog", URI]


def run(*words: str) -> str:
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(s3: Any) -> dict[str, bytes]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


@pytest.mark.slow
def test_every_command_works_on_s3_and_a_purge_leaves_no_byte(
    s3: Any, collection: Path, tmp_path: Path
) -> None:
    imported = json.loads(run("import", "folder", str(collection), "--json"))
    assert (imported["new"], imported["present"]) == (IMAGES, 0)
    assert json.loads(run("fetch", "--size", "64", "--json"))["statuses"] == {"ok": IMAGES}
    curated = json.loads(run("curate", "--min-side", "150", "--deduplicate", "--name", "c-v1", "--json"))
    assert curated["rows"] == IMAGES
    assert json.loads(run("stats", "--json"))["rows"] == IMAGES
    assert "Painter 3" in run("lookup", str(collection / "003.jpg"))
    assert run("credits").count("Painter 1") == IMAGES / 4
    run("export", "parquet", "--out", str(tmp_path / "out"), "--where", "c-v1")
    assert (tmp_path / "out" / "credits.csv").exists()

    taken = Catalog.open(URI).table(["image"], "creator = 'Painter 3'")["image"].to_pylist()
    middles = [image[len(image) // 2 :][:40] for image in taken]
    assert all(any(middle in data for data in objects(s3).values()) for middle in middles)
    run("takedown", "--creator", "Painter 3", "--reason", "asked", "--purge", "--exclusive")
    assert Catalog.open(URI).count() == IMAGES * 3 // 4
    assert not any(middle in data for data in objects(s3).values() for middle in middles)
    again = json.loads(run("import", "folder", str(collection), "--json"))
    assert again["new"] == 0
    assert Catalog.open(URI).count() == IMAGES * 3 // 4


@pytest.mark.slow
def test_import_and_fetch_killed_on_s3_are_finished_by_the_next_run(
    s3: Any, collection: Path, tmp_path: Path
) -> None:
    for words in (("import", "folder", str(collection)), ("fetch", "--size", "64")):
        for wait_s in (0.6, 0.8, 1.0, 1.2):
            process = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            time.sleep(wait_s)
            process.send_signal(signal.SIGKILL)
            process.wait()
        run(*words)
    whole = tmp_path / "whole.lance"
    import_("folder", whole, path=collection)
    fetch(whole, FetchOptions(size=64))
    tables = [
        Catalog.open(uri).table(Catalog.open(whole).schema.names).sort_by("image_id") for uri in (URI, whole)
    ]
    assert tables[0].equals(tables[1])


def test_of_several_that_make_one_catalog_on_s3_at_once_one_does_and_nobody_loses_rows(s3: Any) -> None:
    for attempt in range(5):
        uri, made = f"s3://{BUCKET}/{attempt}.lance", []

        def go(name: str, uri: str = uri, made: list[str] = made) -> None:
            try:
                Catalog.create(uri)
                made.append(name)
            except CatalogError as error:
                assert "exists already" in str(error)
            Catalog.open(uri).add([to_batch([{"image_id": f"a:{name}", "source": "a"}])])

        threads = [threading.Thread(target=go, args=(name,)) for name in "xyz"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1
        assert sorted(Catalog.open(uri).table(["image_id"])["image_id"].to_pylist()) == ["a:x", "a:y", "a:z"]


@pytest.mark.slow
def test_a_store_that_has_no_catalog_or_can_t_be_reached_is_named(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CatalogError, match=r"no catalog at s3://commons/none\.lance"):
        Catalog.open(f"s3://{BUCKET}/none.lance")
    with pytest.raises(CatalogError, match=r"s3://nowhere/cc\.lance"):
        Catalog.open_or_create("s3://nowhere/cc.lance")
