"""Thresholds, whitening and changes, without images of anybody."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from commoncanvas.memorisation.calibration import (
    Calibration,
    Share,
    false_alarms_of,
    threshold_of,
)
from commoncanvas.memorisation.copies import CHANGES
from commoncanvas.memorisation.projection import Whitening

similarities = arrays(np.float64, st.integers(2, 500), elements=st.floats(-1, 1))


@given(similarities, st.floats(0.001, 0.5))
def test_few_of_the_strangers_that_set_a_threshold_are_over_it(found: np.ndarray, alarms: float) -> None:
    assert (found > threshold_of(found, alarms)).sum() <= alarms * (len(found) + 1)


def test_new_strangers_are_over_the_threshold_as_seldom_as_it_says() -> None:
    random = np.random.default_rng(0)
    over = [random.normal() > threshold_of(random.normal(size=99), 0.05) for _ in range(20_000)]
    assert 0.045 < np.mean(over) < 0.055


def test_false_alarms_are_counted_on_strangers_that_did_not_set_the_threshold() -> None:
    strangers = np.random.default_rng(0).normal(size=10_000)
    measured = false_alarms_of(strangers, 0.01)
    assert measured.of == 10_000 and 0.007 < (measured.share or 0) < 0.014
    # Two strangers: each is judged by the other, so the larger one is an alarm. Its own threshold would hide that.
    assert false_alarms_of(np.array([0.1, 0.2]), 0.01) == Share(1, 2)


def test_a_percentile_counts_the_strangers_that_are_less_similar() -> None:
    strangers = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    found = Calibration(0.4, Share(0, 4), {}, strangers)
    assert [found.percentile(each) for each in (0.0, 0.25, 0.9)] == [0, 50, 100]


def test_no_strangers_give_no_threshold() -> None:
    with pytest.raises(ValueError, match="needs strangers"):
        threshold_of(np.empty(0))
    assert str(Share(0, 0)) == "none measured" and Share(0, 0).to_dict()["share"] is None


def test_whitened_features_have_the_same_variance_in_all_directions() -> None:
    random = np.random.default_rng(0)
    stretched = (random.standard_normal((2000, 6)) * [100, 10, 1, 1, 1, 0.1] + 50).astype(np.float32)
    whitening = Whitening.fit(stretched)
    inner = (stretched - whitening.mean_D) @ whitening.matrix_DE
    assert np.allclose(np.cov(inner.T), np.eye(6), atol=0.01)
    assert np.allclose(np.linalg.norm(whitening(stretched), axis=1), 1, atol=1e-5)
    assert np.isfinite(whitening(whitening.mean_D[None])).all()


@pytest.mark.parametrize("rows", [2, 9, 40])
def test_few_images_give_few_directions(rows: int) -> None:
    features = np.random.default_rng(0).standard_normal((rows, 100)).astype(np.float32)
    assert Whitening.fit(features).matrix_DE.shape[1] == max(1, rows // 4)


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("size", [(32, 32), (17, 40), (1, 1)])
def test_changes_change_an_image_of_any_size_and_leave_the_original(change, size) -> None:  # type: ignore[no-untyped-def]
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = image.copy()
    made = change(image)
    assert made.dtype == np.uint8 and made.shape[2] == 3 and made.size
    assert np.array_equal(image, before)
    assert size == (1, 1) or not np.array_equal(made, image)
