"""What an evaluation says in words stands on a test, and its table and page have every figure beside its baseline."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from commoncanvas.catalog import takedown
from commoncanvas.catalog.credits import read_credits
from commoncanvas.cli import main
from commoncanvas.core.console import print_table
from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.encoding.command import encode
from commoncanvas.evaluation import evaluate
from commoncanvas.evaluation.metrics import permutation_p
from commoncanvas.pages.evaluation_page import CREDITED, write_evaluation_page
from commoncanvas.provenance.verdict import ROWS_EXPLAINED, metric_rows, verdicts
from commoncanvas.training.trainer import train
from tests.training.tiny import recipe


def matches(prompts: int, hits: int) -> np.ndarray:
    """Each image's nearest real one: its own for the first `hits`, the next one's for the others."""
    own = np.arange(prompts)
    nearest = np.where(own < hits, own, (own + 1) % prompts)
    return np.eye(prompts)[nearest]


def said(prompts: int, hits: int) -> str:
    figures = {
        "retrieval_seen": hits / prompts,
        "retrieval_chance": 1 / prompts,
        "retrieval_p": permutation_p(matches(prompts, hits)),
        "prompts": prompts,
    }
    (line,) = verdicts(figures)
    return line.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("prompts", "hits", "words"),
    [
        (64, 2, "3.1 % of prompts found, chance 1.6 %: not better than chance (p = "),
        (64, 0, "0.0 % of prompts found, chance 1.6 %: not better than chance (p = 1)"),
        (64, 5, "7.8 % of prompts found, chance 1.6 %: better than chance (p = 0.00"),
        (64, 42, "65.6 % of prompts found, chance 1.6 %: better than chance (p < 0.001)"),
        (
            3,
            3,
            "100.0 % of prompts found, chance 33.3 %: not better than chance (p = 0.17; 3 prompts are too few to",
        ),
        (1, 1, "1 prompts are too few to tell"),
    ],
)
def test_the_words_are_those_of_the_test(prompts: int, hits: int, words: str) -> None:
    assert words in said(prompts, hits)


def test_a_model_that_draws_one_picture_for_all_is_not_better_than_chance() -> None:
    same = np.zeros((50, 50))
    same[:, 7] = 1
    assert permutation_p(same) == 1


def test_few_of_many_models_that_know_nothing_are_called_better_than_chance() -> None:
    random = np.random.default_rng(3)
    ps = [permutation_p(np.eye(20)[random.integers(0, 20, 20)], shuffles=199, seed=run) for run in range(300)]
    assert sum(p < 0.05 for p in ps) <= 300 * 0.05 + 3 * (300 * 0.05 * 0.95) ** 0.5


def test_a_permutations_p_is_that_of_all_permutations() -> None:
    from itertools import permutations

    scores = np.random.default_rng(1).random((5, 5)) + 0.3 * np.eye(5)
    every = [sum(scores[i, j] for i, j in enumerate(order)) for order in permutations(range(5))]
    exact = np.mean([one >= scores.trace() - 1e-12 for one in every])
    assert permutation_p(scores) == pytest.approx(exact, abs=0.015)


def test_distances_are_told_by_their_way_from_noise_to_the_autoencoder() -> None:
    figures = {"fd_heldout": 150.0, "fd_reconstruction_heldout": 100.0, "fd_noise_heldout": 300.0}
    assert verdicts(figures) == [
        "Prompts held out: FD 150.0 is 75\u00a0% of the way from noise (300.0) to the autoencoder alone (100.0)."
    ]
    assert verdicts(figures | {"fd_heldout": 301.0}) == [
        "Prompts held out: FD 301.0 is no better than noise (300.0)."
    ]


def test_the_card_explains_each_row_of_its_table() -> None:
    every = dict.fromkeys(("retrieval_low", "retrieval_high"), 0.5)
    names = {name for row in metric_rows(every) for name, *_ in row["baselines"]}
    assert {"95\u00a0% interval", "autoencoder alone"} <= names
    for name in names:
        assert f"{name[0].upper()}{name[1:]}: " in ROWS_EXPLAINED, name


def test_the_table_has_baselines_and_words_and_no_raw_keys(model: Path, tmp_path: Path) -> None:
    found = evaluate(str(model), samples=6, out=str(tmp_path), steps=1, device="cpu")
    shown = io.StringIO()
    print_table(found.render(), shown)
    text = shown.getvalue().replace("\u00a0", " ")
    for words in (
        "Retrieval",
        "chance",
        "95 % interval",
        "autoencoder alone",
        "noise",
        "FD",
        "KD",
        "than chance (p = ",
        "of prompts found",
    ):
        assert words in text
    assert "_" not in text.replace(str(tmp_path), "").replace(str(model), "")
    assert "Round trip" not in text  # no captioner was asked


@pytest.fixture
def trained(vae: str, tmp_path: Path) -> Path:
    held = ("--data.heldout_fraction", "0.3", "--data.text", "[title]")
    own = recipe("xs", tmp_path, "--vae", vae, *held)
    encode(own)
    return train(own)


@pytest.mark.slow
def test_any_model_has_the_page_that_the_demo_has(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "deep" / "page.html"
    words = ["commoncanvas", "evaluate", str(trained), "--samples", "4", "--steps", "1", "--html", str(page)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = capsys.readouterr()
    assert f"page written to {page}" in told.err and "Retrieval" in told.out
    text = page.read_text(encoding="utf-8")
    assert text.count('<figure class="card">') == 8
    for words_of_page in (
        "painter 0",
        "CC-BY-SA-4.0",
        "than chance",
        "Figures and their baselines",
        "Loss of the U-Net",
    ):
        assert words_of_page in text
    assert "A captioner wrote" not in text and "{{" not in text and "None" not in text
    assert 'src="http' not in text


def test_a_page_of_many_images_says_where_their_credits_are(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commoncanvas.pages.evaluation_page.CREDITED", 3)
    found = evaluate(str(trained), samples=2, steps=1, device="cpu")
    write_evaluation_page(found, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert CREDITED == 1000 and f"These are the first 3 credits; {trained}/credits.csv has all." in text
    blocked = tmp_path / "page.html" / "page.html"
    with pytest.raises(CommonCanvasError, match="can't be written"):
        write_evaluation_page(found, blocked)


@pytest.mark.slow
def test_the_page_names_nobody_who_was_taken_down_and_is_made_in_the_models_own_folder_too(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, *others = read_credits(trained / "credits.csv")
    takedown(tmp_path / "catalog.lance", id=[gone.image_id], reason="asked")
    monkeypatch.chdir(trained)
    found = evaluate(".", samples=2, steps=1, device="cpu")
    write_evaluation_page(found, "page.html")
    text = Path("page.html").read_text(encoding="utf-8")
    assert f"<summary>{len(others)} images" in text
    assert "# xs\n" in (trained / "README.md").read_text()
