"""The average of the weights: what it takes in, and when."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from commoncanvas.training.ema import EMA


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


def test_a_short_run_does_not_average_its_random_start() -> None:
    model = nn.Linear(4, 4)
    average = EMA(model, decay=0.999, every=10)
    begun = average.tensors["weight"].clone()
    with torch.no_grad():
        model.weight += 1.0
    average.update(5, last=True)
    assert (average.tensors["weight"] - model.weight).abs().max() < 0.01
    assert not torch.equal(average.tensors["weight"], begun)
