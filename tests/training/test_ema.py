"""The average of the weights: what it takes in, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from commoncanvas.catalog import Catalog
from commoncanvas.training.ema import EMA
from commoncanvas.training.log import read_log
from commoncanvas.training.task import Batch
from commoncanvas.training.tasks.autoencoder import AutoencoderTask
from commoncanvas.training.trainer import Trainer, train
from tests.training.tiny import recipe


@pytest.mark.parametrize("every", [1, 2, 5, 7])
def test_an_average_takes_in_every_so_many_steps_by_the_decay_to_their_power_and_the_last(every: int) -> None:
    model = nn.Linear(1, 1, bias=False)
    average = EMA(model, decay=0.9, every=every)
    expected, taken = model.weight.detach().clone(), 0
    for step in range(200, 217):  # past the ramp
        with torch.no_grad():
            model.weight += 1.0
        last = step == 216
        average.update(step, last)
        if (step + 1) % every == 0 or last:
            since = every if (step + 1) % every == 0 else (step + 1) % every
            expected = 0.9**since * expected + (1 - 0.9**since) * model.weight.detach()
            taken += 1
        torch.testing.assert_close(average.tensors["weight"], expected)
    assert taken == {1: 17, 2: 9, 5: 4, 7: 3}[every]


def test_a_skipped_step_does_not_cost_the_average_its_interval(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, update, compute = [], EMA.update, AutoencoderTask.loss

    def told(self: EMA, step: int, last: bool = False) -> None:
        taken.append((step, last))
        update(self, step, last)

    def failing(self: AutoencoderTask, model: nn.Module, batch: Batch) -> torch.Tensor:
        return compute(self, model, batch) * (float("nan") if len(taken) in (1, 5) else 1.0)

    monkeypatch.setattr(EMA, "update", told)
    monkeypatch.setattr(AutoencoderTask, "loss", failing)
    monkeypatch.setattr(Trainer, "_not_finite", lambda *_: [])
    words = ("--train.ema_decay", "0.9", "--train.ema_every", "2", "--train.sample_every", "null")
    train(recipe("xs-autoencoder", tmp_path, *words))
    log = read_log(tmp_path / "xs-autoencoder-run" / "log.jsonl")
    assert [entry["skipped"] for entry in log] == [0, 1, 0, 0, 0, 1]
    assert taken == [(step, step == 5) for step in range(6)]


def test_a_short_run_does_not_average_its_random_start() -> None:
    model = nn.Linear(4, 4)
    average = EMA(model, decay=0.999, every=10)
    begun = average.tensors["weight"].clone()
    with torch.no_grad():
        model.weight += 1.0
    average.update(5, last=True)
    assert (average.tensors["weight"] - model.weight).abs().max() < 0.01
    assert not torch.equal(average.tensors["weight"], begun)
