"""A server lets in who has a token and nobody else, and no answer lacks its headers."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from commoncanvas.core.errors import ServerError
from commoncanvas.web.app import make_app
from commoncanvas.web.headers import HEADERS, POLICY
from commoncanvas.web.serve import address_of, listen
from commoncanvas.web.tokens import Tokens, must_have_tokens, new_token, one_token, read_tokens

TOKEN = "a-token-of-the-tests"
HTML = {"accept": "text/html"}
HERE = "http://localhost"


def made(tokens: Tokens) -> FastAPI:
    app, pages = make_app("A <b>title</b>", tokens=tokens, max_body_bytes=1000)

    @app.get("/")
    async def first() -> object:
        return pages.page("error.html.j2", number=200, text="<script>x</script>\u202e")

    @app.get("/broken")
    async def broken() -> None:
        raise KeyError("a secret of the server")

    @app.post("/change")
    async def change(values: dict[str, int]) -> dict[str, int]:
        return values

    return app


@pytest.fixture
def locked() -> TestClient:
    return TestClient(made(one_token(TOKEN)), base_url="https://arena.example", follow_redirects=False)


@pytest.fixture
def local() -> TestClient:
    return TestClient(made(Tokens()), base_url=HERE, follow_redirects=False)


def test_without_the_token_there_is_a_login_page_or_401(locked: TestClient) -> None:
    assert locked.get("/").status_code == 401
    assert locked.post("/change", json={}).status_code == 401
    assert locked.get("/openapi.json").status_code == 401
    answer = locked.get("/", headers=HTML)
    assert answer.status_code == 303 and answer.headers["location"] == "/login"
    assert locked.get("/login").status_code == locked.get("/health").status_code == 200
    wrong = locked.post("/login", data={"token": TOKEN[:-1]})
    assert wrong.status_code == 401 and "unknown" in wrong.text and not wrong.cookies
    assert locked.get("/", headers={"authorization": f"Bearer {TOKEN}x"}).status_code == 401


def test_the_token_comes_by_header_by_form_or_once_in_a_link(locked: TestClient) -> None:
    assert locked.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    linked = locked.get("/", params={"token": TOKEN, "a": "1"})
    assert linked.status_code == 303 and linked.headers["location"] == "/?a=1"
    cookie = linked.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Secure"))
    assert locked.get("/").status_code == 200
    locked.cookies.clear()
    assert (
        locked.post("/login", data={"token": TOKEN}).status_code == 303 and locked.get("/").status_code == 200
    )


def test_a_link_with_the_token_leads_to_no_other_host(locked: TestClient) -> None:
    assert (
        locked.get(f"https://arena.example//evil.example?token={TOKEN}").headers["location"]
        == "/evil.example"
    )


def test_another_site_changes_nothing_and_dns_rebinding_reads_nothing(local: TestClient) -> None:
    assert local.post("/change", json={"a": 1}).json() == {"a": 1}
    assert local.post("/change", json={"a": 1}, headers={"origin": HERE}).status_code == 200
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert local.post("/change", json={"a": 1}, headers=headers).status_code == 403
    assert local.get("/", headers={"host": "evil.example"}).status_code == 421
    assert local.get("/", headers={"host": "[::1]:80"}).status_code == 200
    answer = local.options("/change", headers={"origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["[", "[::1", "a b", "x/y", "a@b", "localhost:x"])
def test_a_host_of_which_no_url_can_be_made_is_refused(locked: TestClient, host: str) -> None:
    assert locked.get("/health", headers={"host": host}).status_code == 400


def test_a_field_that_is_not_text_is_no_error_of_the_server(local: TestClient) -> None:
    answer = local.post("/change", content=b'{"\\ud800": "x"}', headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_a_server_may_have_open_paths_and_errors_of_its_own() -> None:
    app, _ = make_app(
        "Own",
        tokens=one_token(TOKEN),
        open_paths=("/open",),
        error_form=lambda status, text: {"problem": status},
    )
    client = TestClient(app, base_url="https://own.example")
    assert client.get("/open").status_code == 404 and client.get("/open").json() == {"problem": 404}
    assert client.get("/closed").json() == {"problem": 401}


def test_every_answer_has_the_headers_and_text_is_text(local: TestClient) -> None:
    for answer in (
        local.get("/"),
        local.get("/missing"),
        local.get("/broken"),
        local.get("/static/site.css"),
        local.get("/", headers={"host": "evil.example"}),
        local.post("/change", content=b"x" * 2000),
    ):
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "cache-control" in answer.headers
    assert "unsafe" not in POLICY and "*" not in POLICY
    page = local.get("/").text
    assert "&lt;script&gt;x&lt;/script&gt;\ufffd" in page and "A &lt;b&gt;title" in page
    assert not re.search(r"<style|\sstyle=|<script(?! src)|\son\w+=|https?://", page)


def test_errors_say_nothing_of_the_server(local: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    answer = local.get("/broken")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert "a secret of the server" in capsys.readouterr().err
    assert local.post("/change", json={"a": "x"}).status_code == 422
    assert local.post("/change", content=b"x" * 2000).status_code == 413
    chunks = iter([b"x" * 600, b"x" * 600])
    assert local.post("/change", content=chunks).status_code in (400, 413)
    assert "Not found" in local.get("/missing", headers=HTML).text


def test_the_log_has_no_token_and_no_address(locked: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    locked.get("/", params={"token": TOKEN})
    written = capsys.readouterr().err
    assert '"path": "/"' in written and TOKEN not in written and "testclient" not in written


def test_an_asset_is_sent_again_only_if_it_changed(local: TestClient) -> None:
    first = local.get("/static/site.css")
    assert "--paper" in first.text and first.headers["content-type"].startswith("text/css")
    again = local.get("/static/site.css", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content
    assert local.get("/static/..%2fapp.py").status_code == 404


def test_a_token_is_kept_as_its_digest_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tokens"
    token = new_token(path)
    assert token not in path.read_text() and (os.name == "nt" or path.stat().st_mode & 0o777 == 0o600)
    tokens = read_tokens(path)
    assert (
        tokens.name_of(token) == "access"
        and tokens.name_of(token + "x") is None
        and tokens.name_of("") is None
    )
    with pytest.raises(ServerError, match="can't be written"):
        new_token(path)


@pytest.mark.parametrize("text", ["my-secret-token", "a sha256:12", "", "# only a comment\n"])
def test_a_file_of_tokens_that_says_nothing_usable_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(ServerError, match="tokens"):
        read_tokens(tmp_path / "tokens")


def test_others_need_a_token(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        must_have_tokens(host, Tokens())
    for host in ("0.0.0.0", "::", "192.168.0.2", "arena.example"):
        with pytest.raises(ServerError, match="--token-file"):
            must_have_tokens(host, Tokens())
        must_have_tokens(host, one_token(TOKEN))
    with pytest.raises(ServerError, match="at least 16"):
        one_token("short")


def test_a_port_in_use_is_one_line() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first, "0.0.0.0") == f"http://127.0.0.1:{port}/"
        with pytest.raises(ServerError, match=f"port {port}: .*in use"):
            listen("127.0.0.1", port)
    with pytest.raises(ServerError):
        listen("no.such.host.invalid", 1)
    with pytest.raises(ServerError):
        listen("127.0.0.1", 70_000)
    assert isinstance(first, socket.socket)
