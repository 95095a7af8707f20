import time

import pytest
import torch

from commoncanvas.core.console import rate
from commoncanvas.training.meter import FEWEST, Meter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def window(meter: Meter, clock: Clock, *seconds: float) -> str | None:
    """What `meter` says after steps of so many seconds."""
    for each in seconds:
        with meter.waiting():
            pass
        clock.now += each
        meter.add(1, 0.0, 1.0, 1.0, True)
    said = meter.slowdown()
    meter.read()
    return said


def test_a_rate_that_halves_is_said_once_and_again_after_a_recovery(clock: Clock) -> None:
    meter = Meter(torch.device("cpu"))
    assert window(meter, clock, 5.0, *[0.1] * 4) is None  # the first step compiles
    assert window(meter, clock, *[0.15] * 5) is None
    assert window(meter, clock, *[0.3] * 5) == "a step now takes 0.3 s; before it took 0.1 s"
    assert window(meter, clock, *[0.3] * 5) is None
    assert window(meter, clock, *[0.1] * 4, 9.0) is None
    assert window(meter, clock, *[0.4] * 5) == "a step now takes 0.4 s; before it took 0.1 s"


def test_a_few_steps_say_nothing_of_the_rate(clock: Clock) -> None:
    meter = Meter(torch.device("cpu"))
    assert window(meter, clock, *[0.1] * 5) is None
    assert window(meter, clock, *[9.0] * (FEWEST - 1)) is None


@pytest.mark.parametrize(
    ("per_s", "shown"),
    [
        (0.25, "4.0 s/step"),
        (0.9, "1.1 s/step"),
        (0.0, "0 steps/s"),
        (2.54, "2.5 steps/s"),
        (1234.5, "1,234 steps/s"),
    ],
)
def test_less_than_one_a_second_is_shown_as_seconds_for_each(per_s: float, shown: str) -> None:
    assert rate(per_s, "steps") == shown
