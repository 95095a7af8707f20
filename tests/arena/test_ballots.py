"""A vote counts once, is not lost, and can be taken back; checks have right answers; and blind is blind."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from commoncanvas.arena.ballots import (
    ANSWERS,
    Ballots,
    Finished,
    RefusedError,
    Task,
    UnknownRaterError,
    new_rater,
    open_ballots,
)
from commoncanvas.arena.command import build
from commoncanvas.arena.database import FILE
from commoncanvas.arena.forget import forget
from commoncanvas.arena.reading import read_votes
from commoncanvas.arena.writer import Writer
from commoncanvas.core.errors import ArenaError
from commoncanvas.options.arena import ArenaOptions
from tests.arena.conftest import Make


def joined(arena: Path) -> tuple[Ballots, str, Task]:
    ballots = open_ballots(arena)
    rater = ballots.join()
    return ballots, rater, asked(ballots.task(rater))


def asked(found: Task | Finished) -> Task:
    assert isinstance(found, Task)
    return found


def answered(ballots: Ballots, rater: str, task: Task, answer: str) -> Task | Finished:
    return ballots.vote(rater, task.assignment, task.question, task.attempt, answer)


def test_a_vote_that_comes_again_counts_once_and_leads_to_the_same_pair(make: Make) -> None:
    arena = make(6, checks=0.0)
    ballots, rater, task = joined(arena)
    assert ballots.task(rater) == task, "a reload shows the same pair"
    after = answered(ballots, rater, task, "left")
    assert answered(ballots, rater, task, "left") == after
    assert answered(ballots, rater, task, "right") == after, "the first answer stands"
    (vote,) = read_votes(arena)
    assert (vote.rater, vote.question, vote.answer, vote.check) == (rater, "preference", "left", "")
    assert {vote.left, vote.right} == {"model-0", "model-1"} and vote.category.startswith("kind ")


def test_an_answer_is_taken_back_and_an_old_request_does_not_bring_it_again(make: Make) -> None:
    arena = make(6, checks=0.0)
    ballots, rater, first = joined(arena)
    second = asked(answered(ballots, rater, first, "left"))
    again = asked(ballots.undo(rater))
    assert (again.assignment, again.attempt, again.done) == (first.assignment, 1, 0) and not again.can_undo
    assert answered(ballots, rater, first, "left") == again, "this request was late"
    assert read_votes(arena) == []
    assert answered(ballots, rater, again, "both") == second
    assert [vote.answer for vote in read_votes(arena)] == ["both"]
    kept = ballots.connection.execute("SELECT answer FROM votes WHERE undone_at IS NOT NULL").fetchall()
    assert [row["answer"] for row in kept] == ["left"], "what was taken back stays on the record"
    assert ballots.undo(ballots.join()) is not None, "nobody's first undo is an error"


def test_two_questions_are_asked_one_after_the_other_and_taken_back_in_turn(make: Make) -> None:
    arena = make(4, checks=0.0, alignment=True)
    ballots, rater, task = joined(arena)
    second = asked(answered(ballots, rater, task, "left"))
    assert (second.assignment, second.question, second.done) == (task.assignment, "alignment", 0)
    third = asked(answered(ballots, rater, second, "neither"))
    assert third.done == 1 and third.question == "preference" and third.assignment != task.assignment
    assert asked(ballots.undo(rater)).question == "alignment"
    assert asked(ballots.undo(rater)).question == "preference"
    assert {vote.question for vote in read_votes(arena)} == set()


def test_nobody_answers_for_another_or_what_was_not_asked(make: Make) -> None:
    ballots, rater, task = joined(make(4))
    other = ballots.join()
    with pytest.raises(RefusedError):
        answered(ballots, other, task, "left")
    with pytest.raises(UnknownRaterError):
        answered(ballots, "nobody", task, "left")
    with pytest.raises(UnknownRaterError):
        ballots.task("")
    with pytest.raises(RefusedError):
        answered(ballots, rater, task, "middle")
    with pytest.raises(RefusedError):
        ballots.vote(rater, task.assignment, "alignment", 0, "left")


def test_a_rater_who_looks_passes_each_check_and_sides_are_swapped(make: Make) -> None:
    arena = make(40, checks=0.25, per_rater=40)
    ballots, rater, task = joined(arena)
    noise = {row[0] for row in ballots.connection.execute("SELECT id FROM images WHERE model = 'noise'")}
    found: Task | Finished = task
    while isinstance(found, Task):
        best = "right" if found.left in noise else "left" if found.right in noise else ""
        # Someone who always prefers the image whose id is smaller.
        found = answered(ballots, rater, found, best or ("left" if found.left < found.right else "right"))
    assert found == Finished(40, True, False)
    votes = read_votes(arena)
    checks = Counter(vote.check for vote in votes)
    assert checks["noise"] == checks["repeat"] == 5 and len(votes) == 40
    assert all(vote.answer == vote.right_answer for vote in votes if vote.check)
    assert all(
        not vote.right_answer and {vote.left, vote.right} == {"model-0", "model-1"}
        for vote in votes
        if not vote.check
    )
    for late in (vote for vote in votes if vote.check == "repeat"):
        early = next(vote for vote in votes if vote.pair == late.pair)
        assert (early.left, early.right) == (late.right, late.left) and early is not late
    assert {"noise"} < {vote.left for vote in votes} | {vote.right for vote in votes}


def test_counts_are_the_same_after_a_start_as_before(make: Make) -> None:
    arena = make(12, models=3, checks=0.3, per_rater=0, alignment=True)
    ballots, draw = open_ballots(arena), random.Random(1)
    raters = [ballots.join() for _ in range(3)]
    for _ in range(150):
        rater = draw.choice(raters)
        found = ballots.task(rater)
        if draw.random() < 0.1:
            ballots.undo(rater)
        elif isinstance(found, Task):
            answered(ballots, rater, found, draw.choice(ANSWERS))
    again = open_ballots(arena)
    assert again.chooser.shown.tolist() == ballots.chooser.shown.tolist()
    assert {
        models: (group.votes.total, group.votes.sums, group.shown, dict(group.shown_in))
        for models, group in again.chooser.groups.items()
    } == {
        models: (group.votes.total, group.votes.sums, group.shown, dict(group.shown_in))
        for models, group in ballots.chooser.groups.items()
    }
    assert {rater: again.people[rater] for rater in raters} == {
        rater: ballots.people[rater] for rater in raters
    }
    assert [again.task(rater) for rater in raters] == [ballots.task(rater) for rater in raters]


def test_new_models_appear_to_people_who_vote_and_votes_stay(make: Make) -> None:
    arena = make(5, checks=0.0)
    ballots, rater, task = joined(arena)
    following = asked(answered(ballots, rater, task, "left"))
    shutil.copytree(arena.parent / "model-0", arena.parent / "model-9")
    built = build(
        [str(arena.parent / "model-9")],
        str(arena.parent / "prompts.tsv"),
        arena,
        asking=ArenaOptions(per_rater=3),
    )
    assert (built.pairs, built.new_pairs) == (15, 10) and len(read_votes(arena)) == 1
    assert ballots.task(rater) == following
    ballots.refresh()
    after = asked(answered(ballots, rater, following, "left"))
    assert after.total == 3
    pair = next(
        pair for pair in ballots.chooser.pairs if {pair.first, pair.second} == {after.left, after.right}
    )
    assert "model-9" in pair.models, "models without votes are asked first"


def test_a_forgotten_rater_leaves_nothing_in_the_file_and_the_others_stay(make: Make) -> None:
    arena = make(12, checks=0.3, per_rater=0, alignment=True)
    ballots, draw = open_ballots(arena), random.Random(1)
    raters = [ballots.join() for _ in range(3)]
    for turn in range(90):
        found = ballots.task(raters[turn % 3])
        if draw.random() < 0.1:
            ballots.undo(raters[turn % 3])
        elif isinstance(found, Task):
            answered(ballots, raters[turn % 3], found, draw.choice(ANSWERS))
    before = read_votes(arena)
    gone = forget(arena, raters[0].upper())
    assert gone.rater == raters[0] and gone.answers >= sum(vote.rater == raters[0] for vote in before) > 0
    assert read_votes(arena) == [vote for vote in before if vote.rater != raters[0]]
    for file in (arena / FILE, arena / f"{FILE}-wal"):
        assert raters[0].encode() not in file.read_bytes(), "not even in free pages and the log"
    # The server that ran meanwhile: the rater is unknown, and its counts are those of the disk.
    ballots.refresh()
    with pytest.raises(UnknownRaterError):
        ballots.task(raters[0])
    again = open_ballots(arena)
    for one, two in zip(again.chooser.groups.values(), ballots.chooser.groups.values(), strict=True):
        assert (one.votes.sums, one.shown) == (two.votes.sums, two.shown)
    assert again.task(raters[1]) == ballots.task(raters[1])
    with pytest.raises(ArenaError, match="no rater has the code"):
        forget(arena, raters[0])


def test_a_rater_is_forgotten_whole_or_not_at_all(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = make(6, checks=0.0)
    ballots, rater, task = joined(arena)
    answered(ballots, rater, task, "left")

    def stop(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("commoncanvas.arena.forget.ask_to_recount", stop)
    with pytest.raises(OSError, match="No space"):
        forget(arena, rater)
    assert [vote.rater for vote in read_votes(arena)] == [rater] and ballots.known(rater)


def test_when_the_disk_is_full_no_vote_is_acknowledged_and_none_is_counted(make: Make) -> None:
    arena = make(6, checks=0.0)

    async def run() -> None:
        writer = Writer(lambda: open_ballots(arena))
        rater = await writer.run(Ballots.join)
        task = asked(await writer.run(lambda ballots: ballots.task(rater)))
        writer.ballots.connection.execute(
            "CREATE TEMP TRIGGER full BEFORE INSERT ON main.votes BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
        )
        waiting = [
            writer.run(lambda ballots: answered(ballots, rater, task, "left")),
            writer.run(Ballots.join),
        ]
        failed = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, Exception) for error in failed)
        assert read_votes(arena) == []
        writer.ballots.connection.execute("DROP TRIGGER temp.full")
        after = asked(await writer.run(lambda ballots: answered(ballots, rater, task, "right")))
        assert after.done == 1 and [vote.answer for vote in read_votes(arena)] == ["right"]
        assert writer.ballots.people[rater].done == 1
        writer.close()

    asyncio.run(run())


def test_a_code_says_nothing_and_can_be_copied() -> None:
    codes = {new_rater() for _ in range(1000)}
    assert len(codes) == 1000 and all(len(code) == 12 and not set(code) & set("01ilo") for code in codes)


def test_a_folder_that_is_no_arena_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArenaError, match="arena build makes one"):
        read_votes(tmp_path)
    (tmp_path / "arena.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(ArenaError, match="can't be read"):
        read_votes(tmp_path)
