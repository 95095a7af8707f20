"""The report: who won in one sentence, what isn't said, who was left out; on the terminal, as JSON and as a page."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commoncanvas.arena.reporting.page import write_arena_page
from commoncanvas.arena.reporting.report import ArenaReport, arena_report
from commoncanvas.arena.reporting.words import headline, limits
from commoncanvas.arena.votes import Vote
from commoncanvas.arena.votes_csv import write_votes
from commoncanvas.cli import app
from commoncanvas.core.errors import ArenaError
from commoncanvas.options.arena import CheckRule
from tests.pages.test_report import CHROMIUM, FLAGS, Page
from tests.web.browser import DESK, PHONE, audit
from tests.web.browser import chromium as chromium
from tests.web.browser import visit as visit

from .simulated import simulated_votes, simulations

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m'
MODELS = ("ours", "sd2", "sdxl", "flux")
LARGE = simulations.Scene(strengths=(1.1, 0.3, -0.3, -0.3), votes=4800, prompts=200, raters=80, taste=0.2)


def check(rater: str, passed: bool, kind: str = "noise") -> Vote:
    answer = "left" if passed else "right"
    return Vote(rater, f"{kind}{rater}", "0", "", "ours", "noise", "preference", answer, kind, "left", "")


@pytest.fixture(scope="module")
def votes() -> list[Vote]:
    found = simulated_votes(LARGE, MODELS)
    again = [replace(each, question="alignment") for each in found[:600]]
    return [*found, *again, *(check(f"r{number}", number > 3) for number in range(80) for _ in range(3))]


@pytest.fixture(scope="module")
def report(votes: list[Vote]) -> ArenaReport:
    return arena_report(votes, name="parti", rule=CheckRule())


def test_the_winner_is_named_in_one_sentence(report: ArenaReport) -> None:
    preference, alignment = report.questions
    assert headline(preference).startswith(
        "ours won: it is preferred to each of the 3 other models; the chance"
    )
    assert preference.ranks[0].model == "ours" and (preference.ranks[0].best, preference.ranks[0].worst) == (
        1,
        1,
    )
    assert "decided" in headline(alignment) and alignment.votes < 600
    shown = str(report)
    assert shown.count("What the figures don't say") == 2 and "Krippendorff's alpha" in shown
    assert "people like these 76 raters, prompts like these 200" in " ".join(shown.split())


def test_leaders_are_listed_while_no_one_has_won(votes: list[Vote]) -> None:
    own = [vote for vote in votes if "ours" not in (vote.left, vote.right) and vote.question == "preference"]
    found = arena_report([*own, *(vote for vote in votes if vote.check)])
    said = headline(found.questions[0])
    assert said.startswith(("sd2 won", "It is not decided who is first: sd2"))
    twins = [vote for vote in own if "sd2" not in (vote.left, vote.right)]
    said = headline(arena_report(twins, models=["new"]).questions[0])
    assert said == "No model is first or last yet: not one of 3 pairs is decided."


def test_two_models_have_a_share_and_what_it_may_be() -> None:
    scene = simulations.Scene(strengths=(0.7, -0.7), votes=1500, raters=60)
    said = headline(arena_report(simulated_votes(scene, ("a", "b"))).questions[0])
    assert re.fullmatch(
        r"a is preferred to b: \d\d\.\d\s% of 1,500 votes, ties counted half; the true share is between "
        r"\d\d\.\d\s% and \d\d\.\d\s%, however often you looked\.",
        said,
    )
    turned = headline(arena_report(simulated_votes(scene, ("b", "a"))).questions[0])
    assert turned == said.replace("a is preferred to b", "b is preferred to a")
    equal = replace(scene, strengths=(0.0, 0.0))
    assert headline(arena_report(simulated_votes(equal, ("a", "b"))).questions[0]).startswith(
        "Undecided between "
    )


def test_few_raters_speak_for_themselves_alone() -> None:
    scene = simulations.Scene(strengths=(1.0, -1.0), votes=800, raters=4, taste=0)
    found = arena_report(simulated_votes(scene, ("a", "b")))
    said = limits(found.questions[0], found.basis)
    assert headline(found.questions[0]).startswith("Undecided")
    assert any(line.startswith("4 raters can't stand for others") for line in said)
    assert any(line.startswith("Among these raters alone: a is preferred to b") for line in said)
    alone = arena_report(simulated_votes(scene, ("a", "b")), scope="these raters")
    assert headline(alone.questions[0]).startswith("a is preferred to b")
    assert "these 4 raters alone" in limits(alone.questions[0], alone.basis)[0]


def test_raters_who_fail_checks_are_shown_and_left_out(report: ArenaReport, votes: list[Vote]) -> None:
    out = {each.rater: each for each in report.basis.left_out}
    assert set(out) == {"r0", "r1", "r2", "r3"} and out["r0"].left_out == "passed 0 of 3 noise checks"
    counted = [
        vote for vote in votes if vote.question == "preference" and not vote.check and vote.rater not in out
    ]
    assert report.questions[0].votes == len(counted) and "left out: rater r0" in str(report)
    assert (
        "Left out: 4 of 80 raters. Rule: who passed fewer than 60 % of noise checks, of 2 or more (fixed"
        in (" ".join(str(report).split()))
    )
    everybody = arena_report(votes, rule=CheckRule(noise=0, repeat=0))
    assert not everybody.basis.left_out and everybody.questions[0].votes == 4800
    repeats = [*votes, *(check("r9", False, "repeat") for _ in range(4))]
    assert "r9" not in {each.rater for each in arena_report(repeats).basis.left_out}
    strict = arena_report(repeats, rule=CheckRule(repeat=0.5)).basis.left_out
    assert "passed 0 of 4 repeat checks" in [each.left_out for each in strict]


def test_one_failed_check_leaves_nobody_out(votes: list[Vote]) -> None:
    once = [*(vote for vote in votes if not vote.check), check("r0", False)]
    assert not arena_report(once).basis.left_out


@pytest.mark.parametrize("wrong", [{"noise": 2.0}, {"repeat": -0.1}, {"least": 0}, {"nois": 1}])
def test_a_wrong_rule_is_an_error(wrong: dict[str, float]) -> None:
    with pytest.raises(ArenaError, match="rule for checks"):
        CheckRule.of(wrong)


def test_nothing_to_report_says_why(votes: list[Vote]) -> None:
    with pytest.raises(ArenaError, match="no votes to report on: 0 answers"):
        arena_report([])
    with pytest.raises(ArenaError, match="3 answers, 3 of them checks; 1 raters left out"):
        arena_report([check("a", False)] * 3)


@pytest.mark.parametrize("answer", ["left", "both"])
def test_a_single_vote_has_a_report(answer: str, tmp_path: Path) -> None:
    one = Vote("r", "p", "p", "", "a", "b", "preference", answer, "", "", "")
    found = arena_report([one], models=["c"])
    assert "No model is first or last yet" in str(found) and json.dumps(found.to_dict(), allow_nan=False)
    write_arena_page(found, tmp_path / "page.html")


def test_the_page_has_all_figures_and_no_text_that_acts(votes: list[Vote], tmp_path: Path) -> None:
    evil = [
        replace(
            vote,
            left=vote.left.replace("sd2", EVIL),
            right=vote.right.replace("sd2", EVIL),
            category=EVIL,
            rater=vote.rater + EVIL,
        )
        for vote in votes[:800]
    ]
    write_arena_page(arena_report([*evil, replace(evil[0], category="x")], name=EVIL), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    parsed = Page(html)
    assert {tag for tag, _ in parsed.elements}.isdisjoint({"script", "img", "iframe", "form", "base"})
    assert "\x1b" not in html and len(parsed.ids) == len(set(parsed.ids))
    assert {
        "preference-limits",
        "preference-ranks",
        "preference-matrix",
        "preference-sequences",
        "checks",
    } <= set(parsed.ids)
    assert not re.search(r"@import|url\(|nan\b", html)


def test_the_page_says_what_the_terminal_says(report: ArenaReport, tmp_path: Path) -> None:
    write_arena_page(report, tmp_path / "page.html")
    text = " ".join(Page((tmp_path / "page.html").read_text(encoding="utf-8")).text.split())
    for found in report.questions:
        assert " ".join(headline(found).split()) in text
        for line in limits(found, report.basis):
            assert line in text
        for rank in found.ranks:
            assert f"{rank.strength:+.0f}" in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1200, 390])
def test_chromium_shows_the_page_without_an_error(report: ArenaReport, tmp_path: Path, width: int) -> None:
    write_arena_page(report, tmp_path / "page.html")
    picture = tmp_path / "page.png"
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},3000",
    ]
    command += [f"--screenshot={picture}", (tmp_path / "page.html").as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in ran.stderr, ran.stderr
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    band = (np.abs(pixels - (0xD5, 0xEA, 0xE2)).sum(-1) < 12).sum()
    assert band > 4000, "the sequences' bands are not to be seen"


def test_the_commands(votes: list[Vote], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> str:
        app(list(words), exit_on_error=False, print_error=False, result_action="return_value")
        return capsys.readouterr().out

    write_votes(votes[:900], tmp_path / "votes.csv")
    page = tmp_path / "report.html"
    assert "What the figures don't say" in run(
        "arena", "report", f"{tmp_path}/votes.csv", "--html", str(page)
    )
    assert page.is_file()
    found = json.loads(run("arena", "report", f"{tmp_path}/votes.csv", "--only-these-raters", "--json"))
    assert (
        found["basis"]["scope"] == "these raters"
        and found["questions"][0]["pairs"][0]["decision"]["votes"] > 50
    )
    assert "10 points" in run("arena", "power", "--differences", "10", "--raters", "100", "--models", "3")
    with pytest.raises(ArenaError, match="give --votes FILE or --tasks FILE"):
        run("arena", "export", str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious_on_the_page(
    report: ArenaReport, visit: Callable[..., Any], tmp_path: Path, dark: bool
) -> None:
    basis = replace(report.basis, credits=(f"{EVIL} by painter",))
    write_arena_page(replace(report, basis=basis), tmp_path / "page.html")
    for viewport in (PHONE, DESK):
        audit(visit((tmp_path / "page.html").as_uri(), viewport, dark))
