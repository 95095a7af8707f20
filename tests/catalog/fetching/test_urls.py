"""Addresses go out byte for byte, by whatever way they came in."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog, FetchOptions, fetch
from commoncanvas.catalog.fetching.download import Downloader
from commoncanvas.catalog.fetching.urls import quoted, redirected, web_url
from tests.catalog.fetching.server import Answer, RawServer, http, image_file, moved, statuses, web_rows

EXACT = [
    "/t/http%3A%2F%2Fa.example%2Fb.jpg",
    "/a%2Cb",
    "/x?url=a%2Fb%3Fc",
    "/%7Eada/~ada",
    "/a%2cb%2Fc",
    "/x?",
    "/x??a=1&&b",
    "/x?sig=a%2Bb+c%3D%3D&e=1",
    "//double//slash/",
    "/a/../b/./c",
    "/!$&'()*+,;=:@-._~?/:@!$&'()*+,;=-._~?",
    "/%00%ff%C3%A9",
]
QUOTED = {
    "/my photo.jpg": "/my%20photo.jpg",
    "/x?q=a b": "/x?q=a%20b",
    "/é?é": "/%C3%A9?%C3%A9",
    "/100%/%zz/%2": "/100%25/%25zz/%252",
    '/<"^`{|}\\[]>': "/%3C%22%5E%60%7B%7C%7D%5C%5B%5D%3E",
    "  /around  ": "/around",
    "/broken\r\nline": "/brokenline",
    "/a\x00b\x7f": "/a%00b%7F",
    "/a#part": "/a",
    "?q": "/?q",
    "": "/",
}
"""What is written -> what is asked for."""

LEGAL = st.sampled_from(
    [*"/abzAZ09-._~!$&'()*+,;=:@?", "%2F", "%3A", "%2f", "%7E", "%20", "%41", "%C3%A9", "%25"]
)


@given(st.lists(LEGAL, max_size=30).map("".join))
@example("/x?")
def test_what_is_legal_goes_out_as_it_is(target: str) -> None:
    url = web_url(f"http://h.example/{target}")
    assert url.raw_path_qs == f"/{target}"
    assert url.host == "h.example"
    # The way by a redirect is no other.
    assert redirected("http://other.example/a?b", f"//h.example/{target}") == f"http://h.example/{target}"


@given(st.text(max_size=30))
@example("%")
@example("%2")
@example("\udcff")
def test_what_is_illegal_is_quoted_once_and_means_what_it_meant(text: str) -> None:
    made = quoted(text)
    assert re.fullmatch(r"([A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*", made)
    assert quoted(made) == made
    given = text.encode(errors="surrogateescape") if re.search("[\udc80-\udcff]", text) else text.encode()
    assert unquote_to_bytes(made) == unquote_to_bytes(re.sub(rb"%(?![0-9A-Fa-f]{2})", b"%25", given))


@pytest.mark.parametrize(
    ("at", "location", "to"),
    [
        ("http://a/t/http://x/a", "b", "http://a/t/http://x/b"),
        ("http://a/t/http%3A%2F%2Fx/a?q", "b?c=%2F", "http://a/t/http%3A%2F%2Fx/b?c=%2F"),
        ("http://a/x?q", "?r=%20", "http://a/x?r=%20"),
        ("http://a/x?q", "", "http://a/x?q"),
        ("http://a/x?q", "#part", "http://a/x?q"),
        ("http://a/x/y", "../../z", "http://a/z"),
        ("http://a/x/y/", "./..", "http://a/x/"),
        ("http://a", "y", "http://a/y"),
        ("https://a:8443/x", "//b/c%2C", "https://b/c%2C"),
        ("https://a:8443/x", "/c%2C/../d", "https://a:8443/c%2C/../d"),
        ("http://a/x", "HTTPS://b/%7E", "HTTPS://b/%7E"),
        ("http://a/x", "/t/http://b/c", "http://a/t/http://b/c"),
        ("http://a/x", "./c:d", "http://a/c:d"),
    ],
)
def test_a_location_leads_where_rfc_3986_says(at: str, location: str, to: str) -> None:
    assert redirected(at, location) == to


@pytest.mark.parametrize(
    "address", ["", "x", "/x", "//h/x", "ftp://h/x", "http:x", "http:///x", "javascript:x"]
)
def test_what_is_no_web_address_is_told(address: str) -> None:
    with pytest.raises(ValueError, match="not a web address"):
        web_url(address)


def test_hosts_are_read_as_people_write_them() -> None:
    assert str(web_url("HTTP://EXAMPLE.com:80/A")) == "http://example.com/A"
    assert web_url("http://bücher.example/ü").raw_host == "xn--bcher-kva.example"


def picky(path: str) -> Answer:
    """Gives the image for exactly the paths of the lists above; /to/HEX leads anywhere."""
    if path.startswith("/to/"):
        return moved(bytes.fromhex(path.removeprefix("/to/")).decode())
    return http(image_file()) if path in (*EXACT, *QUOTED.values()) else http(status="403 Forbidden")


def test_a_byte_exact_server_gives_what_is_listed_and_what_it_redirects_to(tmp_path: Path) -> None:
    with RawServer(picky) as server:
        written = [f"  {server.url}{target.lstrip()}" for target in (*EXACT, *QUOTED)]
        # In a location `//` begins a host.
        led_to = [f"{server.url}/to/{target.encode().hex()}" for target in EXACT if target[:2] != "//"]
        catalog = web_rows(tmp_path, [*written, *led_to])
        fetch(catalog, FetchOptions(size=16, allow_private=True))
        assert set(statuses(Catalog.open(catalog.uri)).values()) == {"ok"}


@settings(max_examples=20)
@given(st.lists(st.lists(LEGAL, max_size=30).map("".join), min_size=10, max_size=30, unique=True))
def test_whatever_is_legal_reaches_the_server_byte_for_byte(targets: list[str]) -> None:
    async def ask(urls: list[str]) -> None:
        downloader = Downloader(FetchOptions(allow_private=True))
        try:
            await asyncio.gather(*(downloader.get(url, downloader.budget.hold()) for url in urls))
        finally:
            await downloader.close()

    with RawServer(lambda path: http(b"x")) as server:
        asyncio.run(ask([f"{server.url}/{target}" for target in targets]))
        assert sorted(server.asked) == sorted(f"/{target}" for target in targets)
