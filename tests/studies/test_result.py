"""What a study's points say together, in words and in a plot."""

from __future__ import annotations

import pytest

from commoncanvas.studies.plot import scarcity_png, scarcity_svg
from commoncanvas.studies.result import Figures, Point, Scarcity

IMAGES = 4000


def figures(fd: float | None, retrieval: float) -> Figures:
    return {
        "prompts_heldout": 50,
        "fd_heldout": fd,
        "kd_heldout": 0.1,
        "fd_reconstruction_heldout": 30.0,
        "fd_noise_heldout": 400.0,
        "retrieval_heldout": retrieval,
        "retrieval_low_heldout": retrieval / 2,
        "retrieval_high_heldout": retrieval * 2,
        "retrieval_chance_heldout": 0.02,
        "retrieval_seen": 0.5,
        "retrieval_chance": 0.05,
    }


def study(*points: tuple[float, int, float | None], seeds: int = 1, trainings: int | None = None) -> Scarcity:
    made = tuple(
        Point(
            each,
            seed,
            round(each * IMAGES),
            round(each * 90),
            3200 / (each * IMAGES),
            "",
            "",
            figures(fd, 0.2),
        )
        for each, seed, fd in points
    )
    return Scarcity(
        folder="",
        recipe="xs",
        catalogs={"main": {"uri": "c.lance", "version": 3}},
        images=IMAGES,
        steps=100,
        batch_size=32,
        seeds=seeds,
        trainings=trainings or len(made),
        points=made,
        parts=("vae xs-autoencoder",),
    )


def test_one_training_shows_the_interval_of_its_prompts_and_several_their_own_deviation() -> None:
    (one,) = study((1, 0, 80.0)).rows
    assert one.interval() == (0.1, 0.4)
    found = study((1, 0, 80.0), (1, 1, 90.0), (1, 2, 100.0), seeds=3)
    (three,) = found.rows
    spread = three.spread("fd_heldout")
    assert spread and (spread.mean, spread.deviation) == (90, 10)
    assert three.interval() == pytest.approx((0.2, 0.2))
    assert found.table()[1][4:7] == ("90.0 ± 10.0", "0.1000 ± 0.0000", "20.0% ± 0.0%")


def test_a_figure_that_a_point_lacks_is_a_dash_and_never_a_number() -> None:
    found = study((0.01, 0, None), (1, 0, 80.0))
    assert [line[4] for line in found.table()[1:]] == ["—", "80.0"]
    assert found.to_dict()["rows"][0]["figures"]["fd_heldout"] is None
    assert scarcity_png(found).startswith(b"\x89PNG")


def test_notes_say_what_a_reader_would_else_get_wrong() -> None:
    notes = " ".join(study((0.005, 0, 90.0), (1, 0, 80.0), trainings=3).notes())
    for said in (
        "the autoencoder alone has 30.0, the best possible",
        "chance is 2.0%",
        "--seeds 3",
        "At 0.005 there are fewer images than a batch of 32",
        "xs-autoencoder",
        "2 of 3",
    ):
        assert said in notes
    assert "more steps" in " ".join(study((0.1, 0, 70.0), (1, 0, 80.0)).notes()) and "more steps" not in notes
    assert "--seeds" not in " ".join(study((1, 0, 1.0), (1, 1, 2.0), seeds=2).notes())


@pytest.mark.parametrize("shares", [(1,), (0.98, 0.99, 1), (0.01, 0.03, 0.1, 0.3, 1)])
def test_any_fractions_can_be_drawn_the_same_each_time(shares: tuple[float, ...]) -> None:
    found = study(*((share, 0, 80.0) for share in shares))
    assert scarcity_svg(found) == scarcity_svg(found)
    assert scarcity_png(found) == scarcity_png(found)


def test_noise_far_above_the_models_is_left_out_of_the_plot() -> None:
    near, far = (scarcity_svg(study((1, 0, fd))).count("stroke-dasharray") for fd in (300.0, 80.0))
    assert (near, far) == (3, 2)  # noise, the autoencoder and chance
