"""Thousands of answers made to break a fetch: no crash, no hang, bounded memory, and a status in every row."""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from PIL import Image

from commoncanvas.catalog import FetchOptions, fetch
from commoncanvas.catalog.fetching import hosts
from commoncanvas.catalog.fetching.addresses import kind_of
from commoncanvas.table.fetch_status import STATUSES
from tests.catalog.conftest import Network
from tests.catalog.fetching.server import Answer, RawServer, http, image_file, statuses, web_rows

PUBLIC = "93.184.215.14"  # only ever rerouted to loopback
SEED = 2026
TIMEOUT_S = 3.0
MAX_BYTES = 300_000


def samples() -> list[bytes]:
    """Files of every format that is read, and of some that aren't."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    made = [
        image_file(format, 120, 90) for format in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP", "PPM")
    ]
    made += [image_file("JPEG", 120, 90, exif=exif), image_file("JPEG", 120, 90, progressive=True)]
    made += [moving.getvalue(), image_file("PNG", 3000, 2000)]
    made += [
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"%PDF-1.4",
        b"<html></html>",
        b"",
    ]
    return made


SAMPLES = samples()


def mutated(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(0, 12)):
        at = draw.randrange(len(changed) + 1)
        match draw.randrange(5):
            case 0 if at < len(changed):
                changed[at] = draw.randrange(256)
            case 1:
                changed[at : at + draw.randint(1, 50)] = b""
            case 2:
                changed[at:at] = draw.randbytes(draw.randint(1, 50))
            case 3:
                changed[at : at + 4] = draw.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
            case 4:
                other = draw.choice(SAMPLES)
                changed[at : at + 30] = other[at : at + 30]
    return bytes(changed)


def headers(draw: random.Random) -> list[str]:
    odd = (
        "Content-Type: image/jpeg",
        "Content-Type: \x00text",
        "Content-Encoding: " + draw.choice(("gzip", "deflate", "br", "identity", "x, y", "")),
        "Transfer-Encoding: " + draw.choice(("chunked", "gzip", "identity", "chunked, chunked")),
        "Content-Length: " + draw.choice(("-1", "0", "99999999999999999999", "1, 2", "x", " 5")),
        "Location: "
        + draw.choice(("/", "//", "http://[::1", "http://10.0.0.1/", "file:///etc/passwd", "é\u202e")),
        "Set-Cookie: " + "c" * draw.randint(0, 5000),
        "Retry-After: " + draw.choice(("0", "-1", "x", "9" * 30, "Wed, 21 Oct 2015 07:28:00 GMT")),
        "X-Robots-Tag: " + draw.choice(("noai", "a: b: c", ",,,", "\u00ff")),
        "Connection: " + draw.choice(("keep-alive", "close", "upgrade")),
        "X" * draw.randint(1, 12_000) + ": y",
        " folded",
        "no colon",
        ": no name",
    )
    return [draw.choice(odd) for _ in range(draw.randint(0, 5))]


STATUS_LINES = [
    f"{code} X" for code in (100, 101, 199, 200, 204, 206, 301, 302, 304, 307, 400, 404, 429, 500, 503, 999)
]
STATUS_LINES += ["200", "20", "-200 X", "2000 X", "abc X", "200 \x00\xff"]


async def slowly(data: bytes, draw: random.Random) -> AsyncIterator[bytes]:
    while data:
        count = draw.randint(1, 2000)
        yield data[:count]
        data = data[count:]
        await asyncio.sleep(draw.choice((0, 0, 0.01)))
    if draw.random() < 0.02:
        await asyncio.sleep(60)


async def endless(head: bytes, part: bytes) -> AsyncIterator[bytes]:
    yield head
    while True:
        yield part
        await asyncio.sleep(0)


def hostile(path: str) -> Answer:
    """The same answer for the same path, whenever it is asked for."""
    draw = random.Random(f"{SEED}{path}")
    body = mutated(draw.choice(SAMPLES), draw)
    kinds: dict[str, Callable[[], Answer]] = {
        "image": lambda: http(body),
        "headers": lambda: http(body, *headers(draw)),
        "status": lambda: http(body, *headers(draw), status=draw.choice(STATUS_LINES)),
        "length": lambda: http(body, length=draw.choice((0, len(body) + 1, len(body) // 2, 2**63))),
        "raw": lambda: mutated(http(body, *headers(draw)), draw),
        "garbage": lambda: draw.randbytes(draw.randint(0, 3000)),
        "slow": lambda: slowly(mutated(http(body), draw), draw),
        "gzip": lambda: http(gzip.compress(bytes(3_000_000)), "Content-Encoding: gzip"),
        "chunks": lambda: slowly(
            mutated(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                + b"%x\r\n" % len(body)
                + body
                + b"\r\n0\r\n\r\n",
                draw,
            ),
            draw,
        ),
        "endless": lambda: endless(
            b"HTTP/1.1 200 OK\r\n" + draw.choice((b"\r\n", b"X: ", b"")),
            draw.choice((b"x" * 5000, b"X: y\r\n" * 50)),
        ),
    }
    return kinds[draw.choices(list(kinds), (30, 12, 10, 8, 15, 4, 4, 3, 10, 1))[0]]()


def attack(tmp_path: Path, count: int, network: Network, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    monkeypatch.setattr(logging.getLogger("pyvips"), "disabled", True)
    monkeypatch.setattr(hosts, "BACKOFF_S", 0.01)
    monkeypatch.setattr(hosts, "FAILURES", 10**9)  # each row is to be asked for
    monkeypatch.setattr("commoncanvas.catalog.fetching.download.retry_after", lambda value: None)
    process = psutil.Process()
    network.elsewhere_is_down = True
    with RawServer(hostile) as server:
        network.reroutes[PUBLIC] = server.port
        catalog = web_rows(tmp_path, [f"http://{PUBLIC}/{number}" for number in range(count)])
        before, began = process.memory_info().rss, time.monotonic()
        report = fetch(
            catalog,
            FetchOptions(
                size=64,
                per_host=32,
                timeout_s=TIMEOUT_S,
                idle_s=TIMEOUT_S / 2,
                max_bytes=MAX_BYTES,
                max_pixels=5_000_000,
                retries=1,
            ),
        )
        seconds = time.monotonic() - began
    found = Counter(statuses(catalog).values())
    print(f"\n{count} hostile answers in {seconds:.0f} s: {dict(found)}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"memory {before / 1e6:.0f} MB before, {process.memory_info().rss / 1e6:.0f} after, {peak / 1e6:.0f} at most"
    )
    assert {kind_of(host) for host in network.connected} == {"public"}
    assert report.rows == count == sum(found.values())
    faults = catalog.table(["fetch_error"], "fetch_status = 'internal'")["fetch_error"].to_pylist()
    assert faults == []  # of ours
    assert set(found) <= set(STATUSES)
    assert catalog.count("fetch_status != 'ok' AND fetch_error IS NULL") == 0
    assert catalog.count("(fetch_status = 'ok') != (image IS NOT NULL)") == 0
    # Each could wait out its time limit twice, 32 at once.
    assert seconds < 30 + count / 32 * 2 * (TIMEOUT_S + 1)
    # What may be held (32 bodies, two decoded images of 5 megapixels, the results), and the allocator's slack.
    assert process.memory_info().rss - before < 400e6
    assert len(list(Path("/proc/self/fd").iterdir())) < 200
    return found


@pytest.mark.slow
def test_five_hundred_hostile_answers_cost_only_their_own_rows(
    tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = attack(tmp_path, 500, network, monkeypatch)
    assert len(found) >= 8


@pytest.mark.heavy
@pytest.mark.timeout(3000)
def test_ten_thousand_hostile_answers_cost_only_their_own_rows(
    tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = attack(tmp_path, 10_000, network, monkeypatch)
    assert len(found) >= 9
