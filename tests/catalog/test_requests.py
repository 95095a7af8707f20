"""Requests to take pictures out: none is lost, each is decided once, and a kill in between is made good."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog, takedown, takedown_from_requests
from commoncanvas.catalog.takedown import deciding
from commoncanvas.catalog.takedown.from_requests import Desk, decide_each
from commoncanvas.catalog.takedown.requests import FILE, Asked, Requests, requests_folder
from commoncanvas.core.errors import CatalogError
from commoncanvas.table.storage import Storage
from commoncanvas.table.tombstones import Tombstones
from tests.catalog.test_takedown import REPOSITORY, SECOND, catalog, made, numbers, on_disk, row

__all__ = ["catalog", "made"]  # fixtures
CONTACT = "the-only-address@people.example"
MINE = "my unmistakable reason"


def asked(number: int, scope: Any = "image", **more: Any) -> Asked:
    known = row(number)
    names = ("image_id", "title", "creator", "creator_url", "license", "page_url")
    values = {name: known[name] for name in names} | {"reason": MINE, "contact": CONTACT} | more
    return Asked(scope=scope, **values)


def kept(catalog: Catalog, *requests: Asked) -> Requests:
    store = Requests.make(requests_folder(catalog.uri))
    for number, request in enumerate(requests):
        store.add(request, f"code {number}")
    return store


def states(store: Requests) -> dict[int, str]:
    return {each.number: each.state for each in store.with_states("open", "accepted", "done", "refused")}


def answers(desk: Desk, *words: str) -> str:
    """What is shown while a person answers with `words`, and then closes the terminal."""
    left, shown = iter(words), list[str]()

    def ask(question: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    def show(lines: Iterable[str]) -> None:
        shown.extend(lines)

    decide_each(desk, ask, show)
    return "\n".join(shown)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    texts,
    texts,
    texts,
    st.lists(st.sampled_from(["accept", "done", "refuse", "reopen", "forget"]), max_size=6),
)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_file_keeps_any_text_and_a_request_goes_through_its_states_only(
    tmp_path: Path, text: str, code: str, answer: str, steps: list[str]
) -> None:
    shutil.rmtree(tmp_path / "kept", ignore_errors=True)
    store = Requests.make(tmp_path / "kept")
    given = asked(1, reason=text, contact=text, title=text, image_id=text)
    number, state = store.add(given, code), "open"
    assert store.add(asked(2), code) == number
    after = {
        ("accept", "open"): "accepted",
        ("refuse", "open"): "refused",
        ("done", "accepted"): "done",
        ("reopen", "accepted"): "open",
    }
    for step in steps:
        if step == "forget":
            gone = state in ("done", "refused")
            assert store.forget(0) == gone
            if gone:
                assert store.of_person(number, code) is None
                assert store.add(given, code) == number + 1  # no number stands for two requests
                return
            continue
        change = getattr(store, step)
        changed = change(number, *{"done": [3], "refuse": [answer]}.get(step, []))
        assert changed == ((step, state) in after)
        state = after.get((step, state), state)
    found = store.of_person(number, code)
    assert found is not None and found.state == state
    assert {name: getattr(found, name) for name in vars(given)} == vars(given)
    assert store.of_person(number, code + "x") is None


def test_a_request_is_carried_out_and_its_tombstone_has_no_word_of_the_person(catalog: Catalog) -> None:
    store = kept(catalog, asked(6), asked(2, "creator"), asked(9))
    report = takedown_from_requests(catalog, accept=[1, 2], refuse=[3], reason="not yours")
    assert report.accepted == {1: 1, 2: 12} and report.refused == {3: "not yours"}
    assert numbers(catalog) == set(range(60)) - {6} - SECOND
    assert states(store) == {1: "done", 2: "done", 3: "refused"}
    stones = Tombstones(catalog.uri)
    stones.refresh()
    day = store.with_states("done")[0].asked_at[:10]
    assert set(stones.table["reason"].to_pylist()) == {f"request 1 of {day}", f"request 2 of {day}"}
    files = b"".join(Storage(catalog.uri).read(path) for path in Storage(catalog.uri).files())
    assert CONTACT.encode() not in files and MINE.encode() not in files
    person = store.of_person(3, "code 2")
    assert person is not None and person.answer == "not yours"


def test_purge_removes_the_bytes_once_for_all_requests(catalog: Catalog) -> None:
    kept(catalog, asked(7), asked(8))
    report = takedown_from_requests(catalog, accept=[1, 2], purge=True, exclusive=True)
    assert report.purged is not None and report.purged.images == 2
    assert not on_disk(catalog.uri, 7) and not on_disk(catalog.uri, 8) and on_disk(catalog.uri, 9)
    assert "no byte of 2 images is left" in str(report)


def test_a_person_decides_one_by_one(catalog: Catalog) -> None:
    store = kept(catalog, asked(7), asked(8), asked(9), asked(2, "creator"), asked(11))
    said = answers(Desk.of(catalog, None), "?", "t", "r", "", "r", "held by the museum", "l", "T", "q")
    assert states(store) == {1: "done", 2: "refused", 3: "open", 4: "done", 5: "open"}
    assert numbers(catalog) == set(range(60)) - {7} - SECOND
    for text in (
        "request 1 of ",
        "UTC: this picture (1 of 5)",
        "all pictures by Person 2 (4 of 5)",
        "The unmistakable title of photograph 7 by Person 2, CC-BY-4.0",
        CONTACT,
        f"    | {MINE}",
        "11 rows would be taken down",
        "model small was trained on that version",
        "request 4: 11 rows taken down",  # photograph 7 was his too
    ):
        assert text in said, text
    assert "held by the museum" not in said


def test_the_texts_of_strangers_send_nothing_to_the_terminal(catalog: Catalog) -> None:
    evil = "\x1b[2J\x9b31m\u202e\r\nrequest 9: 1 row taken down"
    kept(
        catalog,
        asked(7, title=evil, creator=evil, contact=evil, reason=evil, page_url=f"https://x.example/{evil}"),
    )
    said = answers(Desk.of(catalog, None), "q")
    assert not {"\x1b", "\x9b", "\u202e", "\r", "\x07"} & set(said)
    assert [line for line in said.splitlines() if line.startswith("request")] == [said.splitlines()[0]]
    assert not {"\x1b", "\x9b", "\u202e"} & set(str(takedown_from_requests(catalog, dry_run=True)))


def test_a_picture_that_is_gone_already_is_said_so_and_can_be_closed(catalog: Catalog) -> None:
    store = kept(catalog, asked(7), asked(2, "creator"))
    takedown(catalog, creator="2234@N02", reason="by hand")
    said = answers(Desk.of(catalog, None), "t", "t")
    assert said.count("nothing is left to take down: the catalog no longer has it") == 2
    assert states(store) == {1: "done", 2: "done"}
    assert [each.rows for each in store.with_states("done")] == [0, 0]


def test_a_creator_with_a_name_only_whose_rows_are_gone_can_be_closed(catalog: Catalog) -> None:
    store = kept(catalog, asked(7, "creator", creator="Nobody Known", creator_url=None))
    assert takedown_from_requests(catalog, accept=[1]).accepted == {1: 1}
    assert states(store) == {1: "done"} and 7 not in numbers(catalog)


def test_what_can_not_be_carried_out_stays_open_with_the_reason(catalog: Catalog) -> None:
    from commoncanvas.table.schema import to_batch

    catalog.add(
        [
            to_batch(
                [{**row(3), "image_id": "photos:99", "sha256": None, "creator_url": "https://b.example/x"}]
            )
        ]
    )
    store = kept(catalog, asked(3, "creator", creator_url=None))
    with pytest.raises(CatalogError, match="matches 2 people"):
        takedown_from_requests(catalog, accept=[1])
    assert "it can't be carried out: creator Person 3 matches 2 people" in answers(
        Desk.of(catalog, None), "t", "l"
    )
    assert states(store) == {1: "open"}
    store.accept(1)  # as if it had become so in the middle of a kill
    assert takedown_from_requests(catalog).finished == {} and states(store) == {1: "open"}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"accept": [9]}, "request 9 of .* is not open; open are: 1, 2"),
        ({"accept": [1], "refuse": [1], "reason": "x"}, "request 1 is given twice"),
        ({"refuse": [1]}, "a refusal needs a reason"),
        ({"accept": [1], "reason": "x"}, "pass --refuse"),
        ({"forget": -1}, "give days, 0 or more"),
    ],
)
def test_a_wrong_call_changes_nothing(catalog: Catalog, words: dict[str, Any], problem: str) -> None:
    store = kept(catalog, asked(7), asked(8))
    with pytest.raises(CatalogError, match=problem):
        takedown_from_requests(catalog, **words)
    assert states(store) == {1: "open", 2: "open"} and len(numbers(catalog)) == 60


def test_a_dry_run_and_a_list_change_nothing(catalog: Catalog) -> None:
    store = kept(catalog, asked(7), asked(2, "creator"))
    for words in ({"dry_run": True}, {"dry_run": True, "accept": [1], "purge": True}, {}):
        report = takedown_from_requests(catalog, **words)  # type: ignore[arg-type]
        assert [(each.number, what.found.rows) for each, what in report.waiting if what.found] == [
            (1, 1),
            (2, 12),
        ]
        assert report.to_dict()["waiting"][1]["rows"] == 12
    assert states(store) == {1: "open", 2: "open"} and len(numbers(catalog)) == 60


def test_without_requests_the_command_says_so_and_makes_no_file(catalog: Catalog) -> None:
    assert "0 open requests" in str(takedown_from_requests(catalog, forget=0, purge=True))
    assert not requests_folder(catalog.uri).exists()


def test_a_link_to_the_catalog_leads_to_the_same_requests(catalog: Catalog, tmp_path: Path) -> None:
    kept(catalog, asked(7))
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.lance"
    link.symlink_to(catalog.uri, target_is_directory=True)
    assert takedown_from_requests(link).open == 1


def test_what_is_forgotten_is_in_no_file(catalog: Catalog) -> None:
    store = kept(catalog, asked(7), asked(8), asked(9))
    store.accept(1)
    store.done(1, 1)
    store.refuse(2, "no")
    assert takedown_from_requests(catalog, forget=1).forgotten == 0
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE requests SET contact = 'secret-one', asked_at = '2020' WHERE number < 3")
    connection.close()
    assert takedown_from_requests(catalog, forget=0).forgotten == 2
    assert states(store) == {3: "open"}
    assert not [path for path in store.path.parent.iterdir() if b"secret-one" in path.read_bytes()]


KILLED = """
import os, signal, sys
from commoncanvas.catalog import takedown_from_requests
from commoncanvas.catalog.takedown import deciding
from commoncanvas.catalog.takedown.requests import Requests
from commoncanvas.table import removal

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

step = sys.argv[2]
if step == "accepted":
    takedown = deciding.takedown
    deciding.takedown = lambda *words, dry_run, **more: takedown(*words, dry_run=True, **more) if dry_run else kill()
elif step == "tombstones":
    removal._delete = kill
elif step == "deleted":
    deciding._rows_of = kill
else:
    Requests.done = kill
takedown_from_requests(sys.argv[1], accept=[1, 2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["accepted", "tombstones", "deleted", "counted"])
def test_a_kill_at_any_step_is_made_good_by_the_next_call(catalog: Catalog, step: str) -> None:
    store = kept(catalog, asked(2, "creator"), asked(8))
    ended = subprocess.run([sys.executable, "-c", KILLED, catalog.uri, step], cwd=REPOSITORY, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    assert states(store) == {1: "accepted", 2: "open"}
    report = takedown_from_requests(catalog)
    assert report.finished == {1: 12} and states(store) == {1: "done", 2: "open"}
    assert numbers(catalog) == set(range(60)) - SECOND
    assert store.with_states("done")[0].rows == 12
    assert takedown_from_requests(catalog, accept=[2]).accepted == {2: 1}


def test_two_people_who_decide_at_once_decide_once(catalog: Catalog) -> None:
    store = kept(catalog, asked(7))
    (request,) = store.with_states("open")
    store.refuse(1, "no")
    with pytest.raises(CatalogError, match="somebody else"):
        deciding.accept(catalog, store, request)
    with pytest.raises(CatalogError, match="somebody else"):
        deciding.refuse(store, request, "no")
    assert len(numbers(catalog)) == 60


def command(catalog: Catalog, *words: str, stdin: str = "") -> Iterator[str]:
    ended = subprocess.run(
        [sys.executable, "-m", "commoncanvas", "catalog", "takedown", "--catalog", catalog.uri, *words],
        input=stdin,
        capture_output=True,
        text=True,
    )
    yield from (str(ended.returncode), ended.stdout, ended.stderr)


@pytest.mark.slow
def test_the_command_asks_and_with_numbers_does_not(catalog: Catalog) -> None:
    store = kept(catalog, asked(7), asked(8), asked(9), asked(10))
    code, out, _ = command(catalog, "--from-requests", stdin="t\nr\nheld by others\n")
    assert code == "0" and "request 1: 1 row taken down" in out and "2 open requests" in out
    code, out, _ = command(catalog, "--from-requests", "--accept", "3", "4", "--json")
    assert code == "0" and json.loads(out)["accepted"] == {"3": 1, "4": 1}
    assert states(store) == {1: "done", 2: "refused", 3: "done", 4: "done"}
    for words in (["--from-requests", "--id", "photos:1"], ["--accept", "3"]):
        code, _, err = command(catalog, *words)
        assert code == "2" and "--from-requests" in err


def test_a_damaged_file_is_an_error_of_one_line(catalog: Catalog) -> None:
    store = kept(catalog, asked(7))
    store.path.write_bytes(b"no database at all" * 100)
    with pytest.raises(CatalogError, match=f"{FILE} can't be used: file is not a database"):
        takedown_from_requests(catalog)
