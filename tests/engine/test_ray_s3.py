"""A catalog on S3 under the Ray engine: what opens the store reaches the workers, and stays nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from commoncanvas.catalog import Catalog, FetchOptions, fetch
from commoncanvas.engine.keys import store_keys
from tests.catalog.fetching.server import RawServer
from tests.ray_cluster import wait_until, workers
from tests.ray_tables import Pictures, addresses

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(240)

KEY, SECRET = "AKIAofthistestonly", "a-secret-of-this-test-0123456789"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Storage options of a store that opens to nobody without a key; the cluster was started without any."""
    import boto3

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    client.create_bucket(Bucket="commons")
    yield {
        "aws_access_key_id": KEY,
        "aws_secret_access_key": SECRET,
        "aws_region": "us-east-1",
        "aws_endpoint": endpoint,
        "allow_http": "true",
    }
    server.stop()
    s3_backends.reset()  # it lives as long as this process


def as_variables(store: dict[str, str]) -> dict[str, str]:
    named = {name.upper(): value for name, value in store.items() if name.startswith("aws_")}
    return named | {"AWS_ALLOW_HTTP": "true", "AWS_EC2_METADATA_DISABLED": "true"}


def assert_nowhere(secret: str) -> None:
    """No file of the cluster has it: no log, no spilled object, nothing of its sessions."""
    folder = Path(os.environ["RAY_TMPDIR"])
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum("worker" in path.name for path in files) > 1
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


@pytest.mark.slow
def test_variables_of_the_driver_open_the_store_to_workers(
    cluster: Any, store: dict[str, str], tmp_path: Path
) -> None:
    uri = "s3://commons/cc.lance"
    environment = os.environ | as_variables(store)
    with RawServer(Pictures()) as server:
        addresses(tmp_path / "here.lance", server.url, fragments=2)
        upload(tmp_path / "here.lance", store)
        words = ["catalog", "fetch", "--catalog", uri, "--size", "32", "--allow-private", "--engine", "ray"]
        run = subprocess.run(
            [sys.executable, "-m", "commoncanvas", *words, "--json"],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["statuses"] == {"ok": 72, "not_found": 8}
    there = Catalog.open(uri, storage_options=store)
    assert there.count("image IS NOT NULL") == 72
    assert SECRET not in run.stdout + run.stderr
    wait_until(lambda: not workers(), "the workers have ended")
    assert_nowhere(SECRET)


@pytest.mark.slow
def test_storage_options_open_the_store_to_workers(
    cluster: Any, store: dict[str, str], tmp_path: Path
) -> None:
    with RawServer(Pictures()) as server:
        addresses(tmp_path / "here.lance", server.url, fragments=2)
        upload(tmp_path / "here.lance", store)
        catalog = Catalog.open("s3://commons/cc.lance", storage_options=store)
        report = fetch(catalog, FetchOptions(size=32, allow_private=True), engine="ray")
    assert report.statuses == {"ok": 72, "not_found": 8}
    assert_nowhere(SECRET)


def upload(folder: Path, store: dict[str, str]) -> None:
    """A catalog's files, as `aws s3 cp --recursive` would put them."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=store["aws_endpoint"],
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    for path in folder.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "commons", f"cc.lance/{path.relative_to(folder)}")


def test_keys_go_together_and_files_of_this_machine_stay() -> None:
    assert store_keys({"PATH": "/bin", "OPENAI_API_KEY": "sk"}) == {}
    assert store_keys({"AWS_REGION": "eu", "AWS_PROFILE": "p", "AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}) == {
        "AWS_REGION": "eu"
    }
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert store_keys(given) == given | {"AWS_SESSION_TOKEN": None}
