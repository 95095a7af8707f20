"""Passwords and signatures in addresses reach nobody who reads what is shown or published."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog, credits, export, lookup, show, stats, takedown
from commoncanvas.core.console import say
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.redact import redacted
from commoncanvas.images.image import encode_image
from commoncanvas.pages.stats_page import write_stats_page
from commoncanvas.table.fetch_status import FetchError
from commoncanvas.table.schema import to_batch
from commoncanvas.table.storage import Storage

SECRET = "S3CRET"
NAMES = """
X-Amz-Signature X-Amz-Credential X-Amz-Security-Token AWSAccessKeyId Signature Policy Key-Pair-Id Expires
X-Goog-Signature X-Goog-Credential GoogleAccessId OSSAccessKeyId x-oss-signature q-signature q-ak token
access_token auth_token api_key apikey api-key key password passwd pass pwd secret client_secret jwt hmac sig
Authorization sessionid session ticket subscription-key hdnea authkey id_token refresh_token %73ig TOKEN
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_no_parameter_that_unlocks_is_shown(name: str) -> None:
    text = f"see https://a.example/x.jpg?w=100&{name}={SECRET}#{name}={SECRET}, by Jane"
    shown = redacted(text)
    assert SECRET not in shown
    assert shown.startswith("see https://a.example/x.jpg?w=100")
    assert shown.endswith("by Jane")


def test_a_shared_access_signature_goes_as_a_whole() -> None:
    sas = f"sv=2024-11-04&sr=b&sp=r&st=2026&se=2027&skoid=7&sig={SECRET}%3D"
    assert redacted(f"https://a.blob.example/c/x.jpg?{sas}") == "https://a.blob.example/c/x.jpg"
    assert redacted("https://a.example/s?st=Berlin&sp=2") == "https://a.example/s?st=Berlin&sp=2"


@given(st.text("ab:@%é", max_size=8), st.sampled_from(["http", "https", "ftp", "s3", "S3A"]))
def test_no_password_is_shown(user: str, scheme: str) -> None:
    assert redacted(f"{scheme}://{user}:{SECRET}@a.example/x") == f"{scheme}://a.example/x"


@given(st.text(max_size=40))
def test_what_has_no_address_stays(text: str) -> None:
    assert redacted(text.replace("://", "")) == text.replace("://", "")


@pytest.mark.parametrize(
    "url",
    [
        "https://www.flickr.com/photos/61685594@N00/208/",
        "https://a.example/w/index.php?title=User:Jane&oldid=7#top",
        "https://a.example/x?id=7&lang=de",
        "mail jane@a.example, or see https://a.example",
    ],
)
def test_other_addresses_are_shown_as_they_are(url: str) -> None:
    assert redacted(url) == url


URL = f"https://jane:{SECRET}@a.example/x.jpg?size=l&X-Amz-Signature={SECRET}"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog.create(tmp_path / "c.lance")
    row: dict[str, Any] = {
        "image_id": "a:1",
        "source": "a",
        "license": "CC-BY-4.0",
        "title": f"From {URL}",
        "creator": "Jane",
        "image": encode_image(np.zeros((8, 8, 3), np.uint8), "png"),
        "fetch_status": "ok",
        "width": 8,
        "height": 8,
        "sha256": "0" * 64,
    }
    addresses = dict.fromkeys(("page_url", "image_url", "creator_url", "license_url"), URL)
    catalog.add([to_batch([row | addresses])])
    return catalog


def test_they_are_kept_for_fetching_and_stand_in_nothing_that_is_shown_or_published(
    catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert catalog.table(["image_url"])["image_url"].to_pylist() == [URL]
    out = tmp_path / "out"
    out.mkdir()
    for format in ("text", "csv", "html", "json"):
        credits(catalog, format=format, out=out / f"credits.{format}")
    for format in ("huggingface", "webdataset"):
        export(format, catalog, out / format)
    write_stats_page(catalog, out / "stats.html")
    reports: list[Any] = [stats(catalog), lookup(catalog, URL), lookup(catalog, creator=URL)]
    reports.append(show(catalog, columns=["image_url", "title"]))
    reports.append(takedown(catalog, creator=URL, url=[f"{URL}2"], reason="asked", dry_run=True))
    (out / "reports.json").write_text(json.dumps([report.to_dict() for report in reports], default=str))
    say(f"done with {URL}")
    printed = "".join(capsys.readouterr())
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in printed
    assert "a.example/x.jpg" in (out / "credits.csv").read_text(encoding="utf-8")


def test_a_failed_fetch_keeps_no_secret_in_its_error() -> None:
    assert SECRET not in str(FetchError("not_found", f"{URL} is not a file"))


@pytest.mark.parametrize("uri", [f"s3://KEY:{SECRET}@bucket/c.lance", f"s3://{SECRET}@bucket/c.lance"])
def test_a_place_with_a_password_is_refused_with_the_way_to_give_it(uri: str) -> None:
    for make in (Catalog.create, Catalog.open, Catalog.open_or_create, Storage):
        with pytest.raises(CatalogError, match=r"^s3://bucket/c.lance .* AWS_SECRET_ACCESS_KEY") as error:
            make(uri)
        assert SECRET not in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (
            "https://acct.blob.core.windows.net/c/O'Brien.jpg?sv=2020&se=2030&sig=SECRET",
            "https://acct.blob.core.windows.net/c/O'Brien.jpg",
        ),
        ('https://user:pa"ss@host/x', "https://host/x"),
        (
            "https://web.archive.org/web/2019/https://user:pw@host/x.jpg",
            "https://web.archive.org/web/2019/https://host/x.jpg",
        ),
        ("https://x.org/?q=https://user:pw@y.org/a", "https://x.org/?q=https://y.org/a"),
        ("https://x.org/?q=https%3A%2F%2Fuser:pw@y.org", "https://x.org/?q=https%3A%2F%2Fy.org"),
        ("https://www.dropbox.com/a.jpg?rlkey=abc&dl=1", "https://www.dropbox.com/a.jpg?dl=1"),
    ],
)
def test_secrets_in_odd_places_of_an_address_go(written: str, shown: str) -> None:
    assert redacted(written) == shown


def test_long_text_is_looked_through_in_no_time() -> None:
    began = time.monotonic()
    redacted("a." * 500_000 + " http://x")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (f"https://a.example/x;jsessionid={SECRET}/y.jpg?w=1", "https://a.example/x/y.jpg?w=1"),
        (f"https://a.example/x?PHPSESSID={SECRET}", "https://a.example/x"),
        (f"https://cdn.example/a/1.png?ex=6&is=7&hm={SECRET}&", "https://cdn.example/a/1.png?"),
        (
            f"https://cdn.example/1.jpg?stp=x&oh={SECRET}&oe=6&_nc_ohc={SECRET}",
            "https://cdn.example/1.jpg?stp=x",
        ),
        ("https://a.example/x?is=1&ex=2", "https://a.example/x?is=1&ex=2"),
        ("https://a.example/x;v=2/y", "https://a.example/x;v=2/y"),
        (f"https://jane:a/{SECRET}@a.example/x", "https://a.example/x"),
        (f"ftp://jane:{SECRET}?#@a.example/x", "ftp://a.example/x"),
        ("https://flickr.com:443/photos/1@N00/", "https://flickr.com:443/photos/1@N00/"),
        ("https://[2001:db8::a]/1@N00/", "https://[2001:db8::a]/1@N00/"),
    ],
)
def test_sessions_and_what_platforms_sign_with_are_not_shown(given: str, shown: str) -> None:
    assert redacted(given).rstrip("?") == shown.rstrip("?")


@pytest.mark.parametrize("secret", ["se/cret", "se?cret", "se#cret", "12/34", "se@cret", "cret"])
def test_a_store_s_password_is_refused_and_not_repeated(secret: str) -> None:
    for uri in (f"s3://KEY:{secret}@bucket/c.lance", f"gs://KEY:{secret}@bucket"):
        with pytest.raises(CatalogError, match="AWS_SECRET_ACCESS_KEY") as error:
            Storage(uri)
        assert secret not in str(error.value)
        assert "://bucket" in str(error.value)
