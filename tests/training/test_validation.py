"""Held-out prompts drawn and measured during the training: `evaluate`'s figures, and no change of the training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import commoncanvas
from commoncanvas.core.errors import RecipeError, TrainingError
from commoncanvas.evaluation import evaluate
from commoncanvas.training.log import read_log
from commoncanvas.training.trainer import train as bare_train
from tests.training.test_ranks import FP32, finish, start
from tests.training.tiny import recipe, saved, stopping_at

VALIDATED = ("--validation.every", "2", "--validation.prompts", "4", "--validation.seed", "3")


def entries(out: str) -> list[dict[str, float]]:
    log = read_log(Path(f"{out}-run") / "log.jsonl")
    return [entry for entry in log if any(name.startswith("validation/") for name in entry)]


def last_state(out: str) -> dict[str, object]:
    return dict(saved(Path(f"{out}-run") / "checkpoints" / "step-00000006"))


@pytest.mark.slow
def test_the_last_validation_has_the_figures_and_the_fingerprint_of_evaluate(encoded: Path) -> None:
    made = recipe("xs", encoded, *VALIDATED, "--train.ema_decay", "0.9")
    model = commoncanvas.train(made)
    found = entries(made.out)
    assert [entry["step"] for entry in found] == [2, 4, 6]
    judged = evaluate(model, samples=4, seed=3, device="cpu")
    assert judged.heldout is not None
    last = found[-1]
    for name in ("fd", "kd", "retrieval"):
        assert last[f"validation/{name}/efficientnet-lite0"] == pytest.approx(
            getattr(judged.heldout, name), rel=1e-4, abs=1e-6
        )
    digest = last["fingerprints"]["validation/fd/efficientnet-lite0"]  # type: ignore[index]
    assert digest == judged.fingerprints["heldout"]["fd"].digest
    noted = json.loads((Path(f"{made.out}-run") / "fingerprints.json").read_text())
    assert noted[digest]["features"] == "efficientnet-lite0" and noted[digest]["prompts"] == 4


@pytest.mark.slow
def test_the_weights_are_the_same_bits_with_and_without_validation(encoded: Path) -> None:
    plain = recipe("xs", encoded, "--out", str(encoded / "plain"))
    checked = recipe("xs", encoded, *VALIDATED, "--out", str(encoded / "checked"))
    bare_train(plain)
    with stopping_at(2):
        commoncanvas.train(checked)
    commoncanvas.train(checked, resume=True)
    one, other = last_state(plain.out), last_state(checked.out)
    assert one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)  # type: ignore[attr-defined]
    assert [entry["step"] for entry in entries(checked.out)] == [2, 4, 6]


def test_a_recipe_that_cannot_be_validated_is_refused_before_training(encoded: Path) -> None:
    with pytest.raises(RecipeError, match="validation needs at least 2 held-out rows, there are 0"):
        commoncanvas.train(recipe("xs", encoded, *VALIDATED, "--data.heldout_fraction", "0"))
    with pytest.raises(TrainingError, match=r"use commoncanvas\.train"):
        bare_train(recipe("xs", encoded, *VALIDATED))
    assert not (encoded / "xs-run").exists()
    with pytest.raises(RecipeError, match=r"validation: .*both empty"):
        recipe("xs", encoded, *VALIDATED, "--validation.features", "[]")


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_two_processes_find_the_figures_of_one(sharding: str, encoded: Path) -> None:
    words = (*FP32, *VALIDATED, "--train.ema_decay", "0.9", "--validation.prompts", "3")
    one = recipe("xs", encoded, *words, "--out", str(encoded / "one"))
    two = recipe("xs", encoded, *words, "--train.sharding", sharding, "--out", str(encoded / "two"))
    commoncanvas.train(one)
    finish(start(2, two))
    alone, together = entries(one.out), entries(two.out)
    assert len(alone) == len(together) == 3
    for before, after in zip(alone, together, strict=True):
        assert after.pop("fingerprints") == before.pop("fingerprints")
        assert after == pytest.approx(before, rel=2e-3, abs=1e-4)
