"""Manners towards servers, and the budget of bytes."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from commoncanvas.catalog import Catalog, FetchOptions, fetch
from commoncanvas.catalog.fetching import hosts, stage
from commoncanvas.catalog.fetching.budget import Budget
from commoncanvas.catalog.fetching.hosts import backoff, retry_after
from commoncanvas.catalog.fetching.opt_outs import opts_out
from commoncanvas.core.errors import CatalogError
from tests.catalog.conftest import Network
from tests.catalog.fetching.server import (
    Answer,
    RawServer,
    errors,
    http,
    image_file,
    moved,
    statuses,
    web_rows,
)

PICTURE = image_file()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "BACKOFF_S", 0.01)


def test_busy_and_broken_answers_are_asked_for_again_but_not_for_ever(tmp_path: Path, quick: None) -> None:
    asked: Counter[str] = Counter()

    def answer(path: str) -> Answer:
        asked[path] += 1
        kind, _, failures = path[1:].partition("-")
        if asked[path] > int(failures):
            return http(PICTURE)
        if kind == "cut":
            return http(PICTURE, length=len(PICTURE) + 1)
        return http(status=f"{kind} Sorry")

    expected = {
        "429-2": ("ok", 3),
        "503-1": ("ok", 2),
        "cut-2": ("ok", 3),
        "429-9": ("http_4xx", 3),
        "503-9": ("http_5xx", 3),
        "cut-9": ("connection", 3),
        "500-9": ("http_5xx", 1),
        "404-9": ("not_found", 1),
    }
    with RawServer(answer) as server:
        catalog = web_rows(tmp_path, [f"{server.url}/{name}" for name in expected])
        fetch(catalog, FetchOptions(size=16, allow_private=True))
        found = {url.rpartition("/")[2]: status for url, status in statuses(catalog).items()}
    assert {name: (status, asked[f"/{name}"]) for name, status in found.items()} == expected


def test_retry_after_is_obeyed_by_all_rows_of_the_host(tmp_path: Path) -> None:
    times: list[float] = []

    def answer(path: str) -> Answer:
        times.append(time.monotonic())
        return http(b"", "Retry-After: 2", status="429 Slow down") if len(times) == 1 else http(PICTURE)

    with RawServer(answer) as server:
        catalog = web_rows(tmp_path, [f"{server.url}/{number}" for number in range(20)])
        fetch(catalog, FetchOptions(size=16, allow_private=True, per_host=1))
        assert set(statuses(catalog).values()) == {"ok"}
    assert times[1] - times[0] >= 2
    assert len(times) == 21


def test_a_host_that_wants_a_long_rest_or_is_down_is_not_waited_for(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "FAILURES", 5)

    def answer(path: str) -> Answer:
        return http(b"", "Retry-After: 7200", status="503 Closed") if "rest" in path else b"nonsense\r\n\r\n"

    for name, status, said in (
        ("rest", "http_5xx", "asked for a pause of 7,200 s"),
        ("down", "connection", "in a row"),
    ):
        (tmp_path / name).mkdir()
        with RawServer(answer) as server:
            catalog = web_rows(tmp_path / name, [f"{server.url}/{name}{n}" for n in range(50)])
            began = time.monotonic()
            fetch(catalog, FetchOptions(size=16, allow_private=True, per_host=1))
            assert time.monotonic() - began < 30
            assert set(statuses(catalog).values()) == {status}
            assert len(server.asked) < 20
            assert sum(said in error for error in errors(catalog).values()) > 30


def test_no_more_downloads_run_at_once_than_allowed_per_host_and_in_all(tmp_path: Path) -> None:
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    def serve(name: str) -> RawServer:
        async def slowly() -> AsyncIterator[bytes]:
            for key in (name, "all"):
                running[key] += 1
                most[key] = max(most[key], running[key])
            yield http(PICTURE)[:-1]
            await asyncio.sleep(0.05)
            for key in (name, "all"):
                running[key] -= 1
            yield PICTURE[-1:]

        return RawServer(lambda path: slowly())

    with serve("one") as one, serve("two") as two:
        urls = [f"http://127.0.0.1:{one.port}/{n}" for n in range(30)]
        urls += [f"http://localhost:{two.port}/{n}" for n in range(30)]
        catalog = web_rows(tmp_path, urls)
        fetch(catalog, FetchOptions(size=16, allow_private=True, connections=5, per_host=3))
        assert set(statuses(catalog).values()) == {"ok"}
    assert most["one"] == most["two"] == 3
    assert most["all"] <= 5 + 1  # two threads count here


def test_what_redirects_lead_to_is_asked_no_more_at_once_than_the_rest(tmp_path: Path) -> None:
    running = most = 0

    async def slowly() -> AsyncIterator[bytes]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        yield http(PICTURE)[:-1]
        await asyncio.sleep(0.02)
        running -= 1
        yield PICTURE[-1:]

    with RawServer(lambda path: slowly()) as target:
        with RawServer(lambda path: moved(f"http://localhost:{target.port}{path}")) as shortener:
            urls = [f"{shortener.url}/{number}" for number in range(20)]
            urls += [f"http://localhost:{target.port}/direct{number}" for number in range(10)]
            catalog = web_rows(tmp_path, urls)
            fetch(catalog, FetchOptions(size=16, allow_private=True, per_host=2))
        assert set(statuses(catalog).values()) == {"ok"}
        assert len(target.asked) == 30
    assert most == 2


@pytest.mark.slow
def test_retry_after_of_a_redirect_s_target_is_obeyed_by_all_who_are_led_there(tmp_path: Path) -> None:
    times: list[float] = []

    def answer(path: str) -> Answer:
        times.append(time.monotonic())
        return http(b"", "Retry-After: 2", status="503 Busy") if len(times) == 1 else http(PICTURE)

    with RawServer(answer) as target:
        with RawServer(lambda path: moved(f"http://localhost:{target.port}{path}")) as shortener:
            led = [f"{shortener.url}/{number}" for number in range(5)]
            direct = [f"http://localhost:{target.port}/direct{number}" for number in range(5)]
            catalog = web_rows(tmp_path, [*led, *direct])
            fetch(catalog, FetchOptions(size=16, allow_private=True, per_host=1))
        assert set(statuses(catalog).values()) == {"ok"}
    assert times[1] - times[0] >= 2
    assert len(times) == 11


def test_a_host_that_is_down_behind_redirects_closes_itself_and_not_who_leads_there(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "FAILURES", 5)

    def lead(path: str) -> Answer:
        return http(PICTURE) if path.startswith("/own") else moved(f"http://localhost:{target.port}{path}")

    with RawServer(lambda path: b"nonsense\r\n\r\n") as target, RawServer(lead) as shortener:
        urls = [f"{shortener.url}/{kind}{number}" for number in range(30) for kind in ("own", "led")]
        catalog = web_rows(tmp_path, urls)
        fetch(catalog, FetchOptions(size=16, allow_private=True, per_host=1))
        found = statuses(catalog)
        assert {found[url] for url in urls if "/own" in url} == {"ok"}
        assert {found[url] for url in urls if "/led" in url} == {"connection"}
        assert len(target.asked) < 20


def test_connections_are_kept_alive_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "BATCH_ROWS", (10, 10))
    peers = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            peers.add(self.client_address)
            self.send_response(200)
            self.send_header("Content-Length", str(len(PICTURE)))
            self.end_headers()
            self.wfile.write(PICTURE)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        catalog = web_rows(tmp_path, [f"{url}/{number}" for number in range(60)])
        fetch(catalog, FetchOptions(size=16, allow_private=True, per_host=2))
    finally:
        server.shutdown()
        server.server_close()
    assert set(statuses(catalog).values()) == {"ok"}
    assert len(peers) <= 2


def test_a_second_url_stands_in_where_the_first_is_not_to_be_had(tmp_path: Path, quick: None) -> None:
    def answer(path: str) -> Answer:
        return http(PICTURE) if path.startswith("/ok") else http(status=f"{path[1:4]} No")

    with RawServer(answer) as server:
        pairs = {
            "ok1": (None, "ok"),
            "404": ("ok2", "ok"),
            "403": ("ok3", "ok"),
            "410": ("404", "not_found"),
            "401": (None, "forbidden"),
            "451": ("500", "http_5xx"),
            "500": ("ok4", "http_5xx"),
        }
        second = {
            f"{server.url}/{name}": f"{server.url}/{other}" for name, (other, _) in pairs.items() if other
        }
        catalog = web_rows(tmp_path, [f"{server.url}/{name}" for name in pairs], second=second)
        fetch(catalog, FetchOptions(size=16, allow_private=True))
        found = [status for _, status in pairs.values()]
        assert list(statuses(Catalog.open(catalog.uri)).values()) == found
        assert "/ok4" not in server.asked


def test_a_picture_in_place_of_one_that_is_gone_is_not_stored(tmp_path: Path, network: Network) -> None:
    gone = {
        "/flickr": "https://s.yimg.com/pw/images/en-us/photo_unavailable_l.png",
        "/flickr2": "/pw/images/photo_unavailable.png",
        "/imgur": "http://i.imgur.com/removed.png",
        "/naturalist": "http://static.inaturalist.org/copyright-infringement-square-1a2b.png?x",
        "/other": "/static/no-image.jpg",
        "/others": "/img/image_not_found.svg",
        "/photo_unavailable.png/first": "/img/placeholder-600x400.png",
    }
    kept = {
        "/moved": "/a/photo_of_an_unavailable_placeholder.jpg",
        "/image_missing.jpg": None,
        "/removed.png": None,
    }

    def answer(path: str) -> Answer:
        to = {**gone, **kept}.get(path)
        return moved(to) if to else http(PICTURE)

    with RawServer(answer) as server:
        urls = [f"{server.url}{path}" for path in (*gone, *kept)]
        direct = "http://i.imgur.com/removed.png"
        second = {urls[0]: f"{server.url}/second", urls[1]: urls[4]}
        catalog = web_rows(tmp_path, [*urls, direct], second=second)
        fetch(catalog, FetchOptions(size=16, allow_private=True))
        found = statuses(catalog)
        expected = ["ok", *["not_found"] * (len(gone) - 1), *["ok"] * len(kept), "not_found"]
        assert list(found.values()) == expected
        assert errors(catalog)[urls[2]] == f"{direct} is a placeholder for a removed image"
        assert not {*gone.values()} & {*server.asked}
        assert {*network.looked_up} <= {"127.0.0.1"}


def test_servers_are_told_whom_to_write_to(tmp_path: Path) -> None:
    with RawServer(lambda path: http(PICTURE)) as server:
        catalog = web_rows(tmp_path, [f"{server.url}/a"])
        fetch(catalog, FetchOptions(size=16, allow_private=True, contact="mailto:ada@lab.example"))
        assert b"commoncanvas/" in server.heads[0]
        assert b"(+mailto:ada@lab.example; " in server.heads[0]
        for bad in ("a\r\nX: y", "", "ä@b", "a b", "x)y"):
            with pytest.raises(CatalogError, match="is not a mail address or URL"):
                fetch(catalog, FetchOptions(contact=bad))


def test_images_whose_server_keeps_models_away_are_left_alone(tmp_path: Path) -> None:
    said = {
        "/a": (["noai"], "opted_out"),
        "/b": (["noindex, NoImageAI"], "opted_out"),
        "/c": (["noindex"], "ok"),
        "/d": (["all", "commoncanvas: noai"], "opted_out"),
        "/e": (["otherbot: noai, noimageai"], "ok"),
    }
    with RawServer(
        lambda path: http(PICTURE, *(f"X-Robots-Tag: {value}" for value in said[path][0]))
    ) as server:
        catalog = web_rows(tmp_path, [f"{server.url}{path}" for path in said])
        fetch(catalog, FetchOptions(size=16, allow_private=True))
        assert list(statuses(catalog).values()) == [status for _, status in said.values()]
        assert catalog.count("fetch_status = 'opted_out' AND image IS NOT NULL") == 0


@pytest.mark.parametrize(
    ("values", "directive"),
    [
        (["unavailable_after: 1 Jan 2030 00:00:00 GMT, noai"], "noai"),
        (["max-snippet: 5, noimageai"], "noimageai"),
        (["googlebot: noindex", "noai"], "noai"),
        (["googlebot: noai, commoncanvas: noai"], "noai"),
        (["* : noai"], "noai"),
        (["googlebot: noindex, noai"], None),
        (["noaix, ai"], None),
        ([""], None),
        ([], None),
    ],
)
def test_robots_directives_are_read_as_they_are_meant(values: list[str], directive: str | None) -> None:
    assert opts_out(values) == directive


def test_retry_after_is_seconds_or_a_date_or_nothing() -> None:
    assert retry_after("120") == 120
    assert retry_after(" 7 ") == 7
    soon = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True))
    assert soon is not None
    assert 45 < soon <= 50
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for text in (None, "", "soon", "-5", "1e9", "9" * 400, "²", "Wed, 99 Oct 99999 07:28:00 GMT"):
        assert retry_after(text) is None


def test_backoff_grows_and_is_spread_over_all_of_its_range() -> None:
    random.seed(0)
    for tries, top in enumerate((1, 2, 4, 8)):
        drawn = [backoff(tries) for _ in range(500)]
        assert 0 <= min(drawn) < 0.1 * top
        assert 0.9 * top < max(drawn) <= top
    assert max(backoff(50) for _ in range(500)) <= hosts.LONGEST_BACKOFF_S


def test_the_budget_is_never_exceeded_by_more_than_one_image_and_nobody_waits_for_ever() -> None:
    async def run(seed: int) -> None:
        draw = random.Random(seed)
        budget, most = Budget(1000), 0

        async def image() -> None:
            nonlocal most
            hold = budget.hold()
            size = draw.choice([10, 200, 400])
            try:
                while hold.bytes < size:
                    await hold.grow(min(size, hold.bytes + draw.choice([50, 100, 400])))
                    most = max(most, budget.taken)
                    await asyncio.sleep(draw.choice([0, 0.001]))
                if draw.random() < 0.2:
                    raise asyncio.CancelledError
            except asyncio.CancelledError:
                pass
            finally:
                hold.release()

        tasks = [asyncio.create_task(image()) for _ in range(60)]
        for task in draw.sample(tasks, 10):
            await asyncio.sleep(0.001)
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        assert budget.taken == 0
        assert 400 < most <= 1400

    for seed in range(20):
        asyncio.run(run(seed))


def test_an_image_larger_than_the_budget_goes_alone() -> None:
    async def run() -> None:
        budget = Budget(100)
        large, small = budget.hold(), budget.hold()
        await large.grow(500)
        waiting = asyncio.create_task(small.grow(10))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        large.release()
        await waiting
        assert budget.taken == 10

    asyncio.run(run())


def test_ctrl_c_ends_a_fetch_at_once_though_servers_don_t_answer(tmp_path: Path) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        await asyncio.sleep(300)

    with RawServer(lambda path: never()) as server:
        catalog = web_rows(tmp_path, [f"{server.url}/{number}" for number in range(50)])
        code = (
            "import signal, sys; from commoncanvas.catalog import FetchOptions, fetch\n"
            # Whoever runs the tests in the background has it ignored, and children inherit that.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "fetch(sys.argv[1], FetchOptions(allow_private=True))"
        )
        process = subprocess.Popen([sys.executable, "-c", code, catalog.uri], stderr=subprocess.PIPE)
        while not server.asked:
            time.sleep(0.05)
            assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    assert time.monotonic() - began < 8
    assert catalog.count("fetch_status IS NOT NULL") == 0
