"""The whole server in a process of its own: many people at once, SIGKILL, SIGTERM, strangers' requests, refusals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from commoncanvas.arena.forget import forget
from commoncanvas.arena.reading import read_votes
from commoncanvas.arena.server import arena_app
from commoncanvas.core.errors import ArenaError, ServerError
from commoncanvas.web.tokens import Tokens
from tests.arena.conftest import Make

HERE = "http://localhost"
Serve = Callable[..., Any]


def client(arena: Path) -> TestClient:
    made = TestClient(arena_app(arena, Tokens()), base_url=HERE)
    made.post("/start", data={"consent": "yes"})
    return made


def answer_to(task: dict[str, Any], answer: str = "left") -> dict[str, Any]:
    return {**{name: task[name] for name in ("assignment", "question", "attempt")}, "answer": answer}


@pytest.mark.slow
def test_many_people_at_once_lose_and_double_no_vote(
    make: Make, serve: Serve, load: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = make(300, models=3, per_rater=0)
    server = serve(arena)
    monkeypatch.setattr(load, "TWICE_EVERY", 2)
    monkeypatch.setattr(load, "BACK_EVERY", 3)
    heard = load.vote_for(server.url, raters=20, seconds=4)
    assert not heard.errors and load.check(arena, heard) == []
    assert heard.votes and heard.undone
    assert server.stop() in (0, -15)
    assert len(heard.votes) - len(heard.undone) <= len(read_votes(arena))


@pytest.mark.slow
def test_a_killed_server_keeps_every_vote_that_it_acknowledged(
    make: Make, serve: Serve, load: ModuleType
) -> None:
    arena = make(300, models=3, per_rater=0)
    server = serve(arena)
    heard = load.vote_and_kill(server, raters=8, kills=4)
    assert not heard.errors and load.check(arena, heard) == [] and len(heard.votes) >= 20


def test_the_check_of_the_load_test_sees_lost_and_doubled_votes(make: Make, load: ModuleType) -> None:
    arena = make(8, checks=0.0)
    with client(arena) as browser:
        task = browser.get("/api/task").json()
        browser.post("/api/vote", json=answer_to(task))
        key = (task["assignment"], "preference", 0)
        heard = load.Heard(votes={key: "left"})
        assert load.check(arena, heard) == []
        assert load.check(arena, load.Heard(votes={key: "right"})) == [
            "1 acknowledged votes that are lost or changed"
        ]
        assert load.check(arena, load.Heard(votes={**heard.votes, ("x", "preference", 0): "left"}))
        assert load.check(arena, load.Heard(undone={key})) == ["1 votes taken back that still count"]


@pytest.mark.slow
def test_sigterm_finishes_what_began_and_a_second_server_is_refused(make: Make, serve: Serve) -> None:
    arena = make(4)
    server = serve(arena)
    second = subprocess.run(
        [sys.executable, "-m", "commoncanvas", "arena", "serve", str(arena), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 2 and "in use by another run" in second.stderr
    codes: list[int] = []

    def slowly() -> None:
        request = urllib.request.Request(f"{server.url}start", data=b"consent=yes")
        with urllib.request.urlopen(request) as answer:
            codes.append(answer.status)

    threads = [threading.Thread(target=slowly) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert server.stop() in (0, -15)
    for thread in threads:
        thread.join()
    assert codes == [200] * 8
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{server.url}health")


@pytest.mark.slow
def test_a_server_for_others_needs_a_token_and_shows_a_new_one_once(
    make: Make, serve: Serve, tmp_path: Path
) -> None:
    arena = make(4)
    command = [sys.executable, "-m", "commoncanvas", "arena", "serve", str(arena), "--port", "0"]
    refused = subprocess.run([*command, "--host", "0.0.0.0"], capture_output=True, text=True, timeout=60)
    assert (
        refused.returncode == 2 and "it needs a token" in refused.stderr and refused.stderr.count("\n") == 1
    )
    server = serve(arena, "--host", "0.0.0.0", "--token-file", str(tmp_path / "tokens"))
    found = re.search(r"shown only now: (\S+)", server.log.read_text())
    assert found
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{server.url}api/task")
    token = found[1]
    request = urllib.request.Request(server.url, headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200 and "Begin" in answer.read().decode()
    assert token not in (tmp_path / "tokens").read_text()
    server.stop()
    assert "shown only now" not in serve(arena, "--token-file", str(tmp_path / "tokens")).log.read_text()


def test_a_person_votes_stops_and_continues_elsewhere_by_the_code(make: Make) -> None:
    arena = make(3, per_rater=2, checks=0.0)
    with client(arena) as browser:
        task = browser.get("/api/task").json()
        assert (task["done"], task["total"], task["can_undo"]) == (0, 2, False)
        assert browser.get(task["left"]).headers["content-type"] == "image/png"
        assert not {"model", "models", "seed"} & set(task) and "model-" not in json.dumps(task)
        browser.post("/api/vote", json=answer_to(task))
        code = re.search(r'class="code">([\w-]+)<', browser.get("/rate").text)
        assert code
        browser.post("/leave")
        assert browser.get("/api/task").status_code == 403 and "Begin" in browser.get("/rate").text
        assert browser.post("/start", data={}).status_code == 422
        assert "unknown" in browser.post("/start", data={"rater": "k7qf-2m9x-pd"}).text
        assert browser.post("/start", data={"rater": f" {code[1].upper()} "}).url.path == "/rate"
        task = browser.get("/api/task").json()
        assert task["done"] == 1
        assert browser.post("/api/vote", json=answer_to(task)).json()["finished"]
    assert [vote.rater for vote in read_votes(arena)] == [code[1]] * 2


def test_the_text_that_raters_agree_to_is_the_labs_own_and_is_text(make: Make, tmp_path: Path) -> None:
    consent = tmp_path / "consent.txt"
    consent.write_text("Ethics board 7.\n\n<script>alert(1)</script>")
    arena = make(2, consent=str(consent), alignment=True, title="Which <b>fits</b>?")
    with TestClient(arena_app(arena, Tokens()), base_url=HERE) as browser:
        page = browser.get("/").text
    assert "<p>Ethics board 7.</p>" in page and "&lt;script&gt;alert(1)" in page and "<b>fits" not in page
    assert "second question" in page


def test_images_are_the_only_files_that_are_served(make: Make) -> None:
    with client(make(2)) as browser:
        for name in ("..%2farena.sqlite", "arena.json", "0" * 32 + ".png", "0" * 32, ".lock"):
            assert browser.get(f"/images/{name}").status_code == 404
        assert browser.get("/arena.sqlite").status_code == 404


@pytest.mark.slow
def test_strange_requests_are_refused_and_change_nothing(make: Make) -> None:
    arena = make(4)
    leaf = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=9)
    )
    names = st.sampled_from(["assignment", "question", "attempt", "answer", "seconds", "rater", "x"])
    with client(arena) as browser:
        task = browser.get("/api/task").json()

        @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.dictionaries(names, leaf | st.lists(leaf, max_size=2)) | leaf)
        def send(body: Any) -> None:
            sent = (
                {**answer_to(task), **body, "answer": body.get("answer", "up")}
                if isinstance(body, dict)
                else body
            )
            answer = browser.post("/api/vote", json=sent)
            assert answer.status_code in (409, 422), answer.text
            assert "Traceback" not in answer.text

        send()
        assert browser.get("/api/task").json() == task and read_votes(arena) == []


def test_an_arena_without_pairs_is_not_served(tmp_path: Path, make: Make) -> None:
    from commoncanvas.arena.database import connect
    from commoncanvas.arena.serving import serve_arena

    with pytest.raises(ArenaError, match="arena build makes one"):
        serve_arena(tmp_path)
    arena = make(2)
    connection = connect(arena)
    connection.execute("DELETE FROM pairs")
    connection.close()
    with pytest.raises(ArenaError, match="no pairs yet"):
        serve_arena(arena, port=0)
    with pytest.raises(ServerError, match="not both"):
        serve_arena(arena, token="x" * 20, token_file="y")


def test_a_rater_is_forgotten_while_the_server_runs(make: Make) -> None:
    arena = make(6, checks=0.0)
    with client(arena) as first:
        task = first.get("/api/task").json()
        following = first.post("/api/vote", json=answer_to(task)).json()
        (vote,) = read_votes(arena)
        assert forget(arena, vote.rater).answers == 1
        late = first.post("/api/vote", json=answer_to(following))
        assert late.status_code == 403 and read_votes(arena) == []
        assert first.get("/rate").url.path == "/", "the first page, as for a new person"
        assert first.post("/start", data={"consent": "yes"}).url.path == "/rate"
        again = first.post("/api/vote", json=answer_to(first.get("/api/task").json()))
        assert again.status_code == 200 and [each.rater == vote.rater for each in read_votes(arena)] == [
            False
        ]
