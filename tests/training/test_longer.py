"""A run becomes a longer one where the schedule allows it, to the bits of one that was as long from the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog
from commoncanvas.config import load_recipe
from commoncanvas.core.errors import TrainingError
from commoncanvas.encoding.command import encode
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.training.resume import Run
from commoncanvas.training.schedule import learning_rate_at, same_rates_until
from commoncanvas.training.trainer import train
from tests.training.test_trainer import losses, same_bits
from tests.training.tiny import recipe, stopping_at

CONSTANT = ("--train.schedule", "constant")
TRAPEZOID = ("--train.schedule", "trapezoid", "--train.cooldown", "0.3")
AVERAGE = ("--train.ema_decay", "0.9", "--train.ema_every", "4")


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (CONSTANT, 6),
        # Of 6 steps the last goes down, of 10 the last three.
        (TRAPEZOID, 4),
        # The sixth step's weights enter the average as its last, out of turn.
        ((*CONSTANT, *AVERAGE), 4),
    ],
)
@pytest.mark.slow
def test_a_finished_run_that_becomes_longer_has_the_bits_of_one_that_was_from_the_start(
    shapes: Catalog, tmp_path: Path, words: tuple[str, ...], begins: int, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = "xs-autoencoder", tmp_path / "xs-autoencoder"
    longer = ("--train.steps", "10")
    whole = train(recipe(name, tmp_path, *words, *longer, "--out", str(tmp_path / "whole")))
    train(recipe(name, tmp_path, *words))
    capsys.readouterr()
    with stopping_at(begins):  # the first step that is done anew
        train(recipe(name, tmp_path, *words, *longer), resume=True)
    kept = tmp_path / "xs-autoencoder-6-steps"
    assert f"renamed the model of 6 steps to {kept}" in capsys.readouterr().err
    assert read_provenance(kept)["training"]["steps"] == 6 and not out.exists()
    assert train(recipe(name, tmp_path, *words, *longer), resume=True) == out
    assert read_provenance(out)["training"]["steps"] == 10
    assert same_bits(whole, out) and not same_bits(kept, out)
    assert losses(whole) == losses(out)


@pytest.mark.slow
def test_a_stopped_run_of_a_diffusion_model_becomes_longer_more_than_once(
    encoded: Path, tmp_path: Path
) -> None:
    whole = train(recipe("xs", tmp_path, *CONSTANT, "--train.steps", "9", "--out", str(tmp_path / "whole")))
    with stopping_at(3):
        train(recipe("xs", tmp_path, *CONSTANT))
    train(recipe("xs", tmp_path, *CONSTANT, "--train.steps", "7"), resume=True)
    train(recipe("xs", tmp_path, *CONSTANT, "--train.steps", "9"), resume=True)
    assert same_bits(whole, tmp_path / "xs")


@pytest.mark.parametrize(
    ("name", "words", "way"),
    [
        (
            "xs-autoencoder",
            ("--train.schedule", "cosine"),
            "to start again: commoncanvas train xs-autoencoder",
        ),
        (
            "xs",
            ("--train.schedule", "cosine"),
            "to continue from its model: commoncanvas train xs .*--init .*/xs --out",
        ),
        (
            "xs",
            (*CONSTANT, "--noise.logit_normal", "[0, 1]", "--noise.logit_normal_end", "1"),
            "--init .*/xs --out",
        ),
    ],
)
@pytest.mark.slow
def test_a_run_that_depends_on_its_length_names_another_way_and_stays_as_it_is(
    shapes: Catalog, tmp_path: Path, name: str, words: tuple[str, ...], way: str
) -> None:
    train(recipe("xs-autoencoder", tmp_path, *(words if name != "xs" else ())))
    if name == "xs":
        encode(recipe(name, tmp_path, *words))
        train(recipe(name, tmp_path, *words))
    with pytest.raises(TrainingError, match=f"a run of 6 steps can't be extended to 10.*{way}"):
        train(recipe(name, tmp_path, *words, "--train.steps", "10"), resume=True)
    assert train(recipe(name, tmp_path, *words), resume=True) == tmp_path / name


@pytest.mark.slow
def test_the_way_by_init_can_be_gone(vae: str, tmp_path: Path) -> None:
    cosine = ("--train.schedule", "cosine")
    encode(recipe("xs", tmp_path))
    train(recipe("xs", tmp_path, *cosine))
    init = ("--train.steps", "8", "--init", str(tmp_path / "xs"), "--out", str(tmp_path / "xs-longer"))
    assert train(recipe("xs", tmp_path, *cosine, *init)) == tmp_path / "xs-longer"


def test_shorter_and_otherwise_changed_runs_are_refused_as_before(shapes: Catalog, tmp_path: Path) -> None:
    train(recipe("xs-autoencoder", tmp_path, *CONSTANT))
    for words in (("--train.steps", "5"), ("--train.steps", "8", "--train.learning_rate", "1e-2")):
        with pytest.raises(TrainingError, match="was started with other settings or data"):
            train(recipe("xs-autoencoder", tmp_path, *CONSTANT, *words), resume=True)


@pytest.mark.slow
def test_killed_while_it_becomes_longer_nothing_is_lost(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, longer = "xs-autoencoder", (*TRAPEZOID, "--train.steps", "10")
    whole = train(recipe(name, tmp_path, *longer, "--out", str(tmp_path / "whole")))
    train(recipe(name, tmp_path, *TRAPEZOID))

    def killed(self: Run) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Run, "_write", killed)
        train(recipe(name, tmp_path, *longer), resume=True)
    assert (tmp_path / "xs-autoencoder-6-steps" / "provenance.json").exists()
    assert same_bits(whole, train(recipe(name, tmp_path, *longer), resume=True))


@given(
    schedule=st.sampled_from(["constant", "cosine", "trapezoid"]),
    short=st.integers(1, 60),
    more=st.integers(1, 60),
    warmup=st.integers(0, 40),
    cooldown=st.floats(0.05, 1),
)
def test_two_lengths_are_alike_as_long_as_their_rates_are(
    schedule: str, short: int, more: int, warmup: int, cooldown: float
) -> None:
    words = ["--train.steps", str(short + more), "--train.schedule", schedule]
    words += ["--train.warmup_steps", str(warmup), "--train.cooldown", str(cooldown)]
    long = load_recipe("xs-autoencoder", [*words, "--train.ema_decay", "null", "--train.ema_start", "0"])
    before = long.train.model_copy(update={"steps": short})
    alike = same_rates_until(long, short)
    assert 0 <= alike <= short
    rates = [(learning_rate_at(step, before), learning_rate_at(step, long.train)) for step in range(short)]
    assert all(one == other for one, other in rates[:alike])
    assert alike == short or rates[alike][0] != rates[alike][1]
    assert schedule != "constant" or alike == short


@pytest.mark.slow
def test_a_model_that_is_in_the_place_of_the_earlier_one_is_an_error_before_a_checkpoint_goes(
    shapes: Catalog, tmp_path: Path
) -> None:
    train(recipe("xs-autoencoder", tmp_path, *TRAPEZOID))
    (tmp_path / "xs-autoencoder-6-steps").mkdir()
    checkpoints = sorted((tmp_path / "xs-autoencoder-run" / "checkpoints").iterdir())
    with pytest.raises(TrainingError, match=r"can't be renamed to .*-6-steps, which already exists"):
        train(recipe("xs-autoencoder", tmp_path, *TRAPEZOID, "--train.steps", "10"), resume=True)
    assert sorted((tmp_path / "xs-autoencoder-run" / "checkpoints").iterdir()) == checkpoints
    assert len(checkpoints) > 1
    (tmp_path / "xs-autoencoder-6-steps").rmdir()
    assert train(recipe("xs-autoencoder", tmp_path, *TRAPEZOID, "--train.steps", "10"), resume=True).is_dir()
