"""Votes and tasks as CSV: what is written comes back, errors name the line, and crowd workers' ids stay out."""

from __future__ import annotations

import csv
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commoncanvas.arena.ballots import Ballots
from commoncanvas.arena.command import FIRST
from commoncanvas.arena.crowd import import_votes, write_tasks
from commoncanvas.arena.database import connect, write_settings
from commoncanvas.arena.reading import read_votes
from commoncanvas.arena.reporting.report import arena_report
from commoncanvas.arena.reporting.source import report_of
from commoncanvas.arena.votes import Vote
from commoncanvas.arena.votes_csv import read_votes_csv, write_votes
from commoncanvas.core.errors import ArenaError

TEXT = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
SIDES = st.lists(TEXT, min_size=2, max_size=2, unique=True)
ANSWERS = ("left", "right", "both", "neither")


@st.composite
def votes(draw: st.DrawFn) -> Vote:
    left, right = draw(SIDES)
    check = draw(st.sampled_from(["", "noise", "repeat"]))
    return Vote(
        draw(TEXT),
        draw(TEXT),
        draw(TEXT),
        draw(st.just("") | TEXT),
        left,
        right,
        draw(st.sampled_from(["preference", "alignment"])),
        draw(st.sampled_from(ANSWERS)),
        check,
        draw(st.sampled_from(ANSWERS)) if check else "",
        "2026-01-01T00:00:00+00:00",
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(written=st.lists(votes(), max_size=5))
def test_votes_come_back_as_they_were_written(written: list[Vote], tmp_path: Path) -> None:
    assert write_votes(written, tmp_path / "new/votes.csv") == len(written)
    assert read_votes_csv(tmp_path / "new/votes.csv") == written


def test_a_spreadsheet_runs_nothing(tmp_path: Path) -> None:
    evil = Vote("=1+1", "p", "@x", "", "-a", "b", "preference", "left", "", "", "")
    write_votes([evil], tmp_path / "votes.csv")
    fields = next(csv.reader((tmp_path / "votes.csv").read_text().splitlines()[1:]))
    assert fields[0] == "'=1+1" and fields[2] == "'@x" and fields[4] == "'-a"
    assert read_votes_csv(tmp_path / "votes.csv") == [evil]


def test_a_file_of_ones_own_needs_five_columns(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(
        "\ufeffAnswer;rater;prompt;left;right\nleft;1;a dog;x;y\n\nboth;2;a cat;y;x\n"
    )
    first, second = read_votes_csv(tmp_path / "own.csv")
    assert (first.rater, first.prompt, first.left, first.answer, first.question) == (
        "1",
        "a dog",
        "x",
        "left",
        "preference",
    )
    assert second.pair == "a cat x y"


HEAD = "rater,prompt,left,right,answer,check,right_answer\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "rater,prompt,left,right\n",
            "votes.csv, line 1: no column answer; found rater, prompt, left, right",
        ),
        ("", "votes.csv, line 1: no column rater; found nothing"),
        (
            HEAD + "1,p,a,b,left,,\n1,p,a,b,lft,,\n",
            "votes.csv, line 3: answer is 'lft'; it must be one of left, right",
        ),
        (HEAD + "1,p,a,b,left\n", "votes.csv, line 2: 5 fields, but the header has 7"),
        (HEAD + ",p,a,b,left,,\n", "votes.csv, line 2: rater is empty"),
        (HEAD + "1,p,a,a,left,,\n", "votes.csv, line 2: left and right are both 'a'"),
        (HEAD + "1,p,a,b,left,noise,\n", "votes.csv, line 2: a check needs right_answer"),
        (HEAD + '1,p,a,b,"le"ft,,\n', "votes.csv, line 2: "),
    ],
)
def test_an_error_names_the_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(text)
    with pytest.raises(ArenaError) as error:
        read_votes_csv(tmp_path / "votes.csv")
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_files_that_can_t_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "utf16.csv").write_text(HEAD, encoding="utf-16")
    with pytest.raises(ArenaError, match="not UTF-8 text"):
        read_votes_csv(tmp_path / "utf16.csv")
    with pytest.raises(ArenaError, match=r"none\.csv is not there"):
        report_of(tmp_path / "none.csv")
    with pytest.raises(ArenaError, match="is not an arena"):
        report_of(tmp_path)


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    """Three prompts, two models, and a check against noise."""
    folder = tmp_path / "arena"
    folder.mkdir()
    with closing(connect(folder, make=True)) as connection:
        write_settings(connection, {**FIRST, "secret": "ab" * 32, "left_out": {"noise": 0.5, "least": 1}})
        connection.executemany("INSERT INTO models VALUES (?, NULL, '{}')", [("ours",), ("sd2",)])
        for prompt in range(3):
            connection.execute(
                "INSERT INTO prompts VALUES (?, ?, ?)", (f"p{prompt}", f"=a dog {prompt}", "dogs")
            )
            for model in ("noise", "ours", "sd2"):
                image = (f"{model}{prompt}".encode().hex(), model, f"p{prompt}", 0)
                connection.execute("INSERT INTO images VALUES (?, ?, ?, ?)", image)
            sides = [f"{model}{prompt}".encode().hex() for model in ("ours", "sd2")]
            connection.execute("INSERT INTO pairs VALUES (NULL, ?, ?, ?)", (f"pair{prompt}", *sides))
        sides = [b"noise0".hex(), b"ours0".hex()]
        connection.execute("INSERT INTO pairs VALUES (NULL, 'check', ?, ?)", sides)
    return folder


def tasks_of(arena: Path, tmp_path: Path) -> list[dict[str, str]]:
    assert write_tasks(arena, tmp_path / "tasks.csv", "https://img.example/a/") == 4
    with (tmp_path / "tasks.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def results(path: Path, rows: list[tuple[str, str, str]], heads: tuple[str, ...]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([heads, *rows])
    return path


def best(task: dict[str, str]) -> str:
    """The side of "ours"."""
    left = bytes.fromhex(Path(task["left"]).stem).decode()
    return "left" if left.startswith("ours") else "right"


@pytest.mark.parametrize(
    "heads",
    [
        ("WorkerId", "Input.task", "Answer.answer"),
        ("ASSIGNMENT:worker_id", "INPUT:task", "OUTPUT:answer"),
        ("rater", "task", "answer"),
    ],
)
def test_results_of_a_crowd_are_votes_for_the_right_model(
    arena: Path, tmp_path: Path, heads: tuple[str, ...]
) -> None:
    tasks = tasks_of(arena, tmp_path)
    assert tasks[0]["prompt"] == "'=a dog 0" and tasks[0]["left"].startswith("https://img.example/a/")
    rows = [(worker, task["task"], best(task)) for worker in ("A1B2C3D4", "Z9") for task in tasks]
    file = results(tmp_path / "results.csv", rows, heads)
    running = Ballots(arena)
    found = import_votes(arena, file)
    running.refresh()
    assert [group.votes.count for group in running.chooser.groups.values()] == [6], (
        "a server counts them at once"
    )
    assert (found.votes, found.known, found.raters) == (8, 0, 2)
    stored = read_votes(arena)
    won = [each.left if each.answer == "left" else each.right for each in stored]
    assert set(won) == {"ours"} and sum(each.check == "noise" for each in stored) == 2
    assert all(each.answer == each.right_answer for each in stored if each.check)
    again = import_votes(arena, file)
    assert (again.votes, again.known, len(read_votes(arena))) == (0, 8, 8)
    for path in arena.iterdir():
        assert b"A1B2C3D4" not in path.read_bytes()
    report = report_of(arena)
    assert report.questions[0].pairs[0].win_rate.wins == 6 and report.basis.rule_stored
    assert report.basis.rule.noise == 0.5 and not report.basis.left_out


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("Z9", "pair7-0", "left"), "line 3: task 'pair7-0' is not of this arena"),
        (
            ("Z9", "pair1-0", "first"),
            "line 3: preference is 'first'; it must be one of left, right, both, neither",
        ),
        (("", "pair1-0", "left"), "line 3: no rater"),
    ],
)
def test_a_file_with_an_error_adds_nothing(
    arena: Path, tmp_path: Path, row: tuple[str, str, str], said: str
) -> None:
    file = results(tmp_path / "r.csv", [("Z9", "pair0-1", "both"), row], ("rater", "task", "answer"))
    with pytest.raises(ArenaError, match=said):
        import_votes(arena, file)
    assert read_votes(arena) == []


def test_headings_of_other_platforms_can_be_named(arena: Path, tmp_path: Path) -> None:
    file = results(tmp_path / "r.csv", [("Z9", "pair0-1", "Both")], ("who", "task", "choice"))
    with pytest.raises(ArenaError, match="line 1: no column rater or WorkerId"):
        import_votes(arena, file)
    assert import_votes(arena, file, {"rater": "who", "answer": "choice"}).votes == 1
    with pytest.raises(ArenaError, match="'rate' is none of task, rater"):
        import_votes(arena, file, {"rate": "who"})
    with pytest.raises(ArenaError, match="give the http"):
        write_tasks(arena, tmp_path / "t.csv", "images")


def test_exported_votes_give_the_same_report(arena: Path, tmp_path: Path) -> None:
    tasks = tasks_of(arena, tmp_path)
    rows = [(f"w{number}", task["task"], ANSWERS[number % 4]) for number in range(12) for task in tasks]
    import_votes(arena, results(tmp_path / "r.csv", rows, ("rater", "task", "answer")))
    write_votes(read_votes(arena), tmp_path / "votes.csv")
    one = report_of(arena)
    again = read_votes_csv(tmp_path / "votes.csv")
    assert one.basis.left_out and arena_report(again, name="arena", rule=one.basis.rule) == one
