"""The figures mean what they say: known values, bounds, and no dependence on the order of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from commoncanvas.evaluation import metrics
from commoncanvas.models.similarity import cosine_similarity, matched_and_shuffled

Array = NDArray[np.float64]


@st.composite
def feature_pairs(draw: st.DrawFn, least: int = 2) -> tuple[Array, Array]:
    """Two sets [N, D] of features that are all zero or positive, as after a ReLU; rows may repeat."""
    rows, width = draw(st.integers(least, 12)), draw(st.integers(2, 16))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grain = draw(st.sampled_from([1.0, 0.001]))  # coarse values make ties
    a, b = (np.maximum(0, np.round(random.normal(0.5, 1, (rows, width)) / grain) * grain) for _ in range(2))
    return a, b


def shuffled_rows(a: Array, b: Array) -> tuple[Array, Array]:
    order = np.random.default_rng(len(a)).permutation(len(a))
    return a[order], b[order]


@given(feature_pairs(least=1))
def test_retrieval_is_a_share_and_does_not_depend_on_the_order(pair: tuple[Array, Array]) -> None:
    share = metrics.retrieval_accuracy(*pair)
    assert 0 <= share <= 1
    assert metrics.retrieval_accuracy(*shuffled_rows(*pair)) == pytest.approx(share)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_copy_is_always_retrieved(seed: int, centred: bool) -> None:
    real = np.random.default_rng(seed).normal(1, 1, (16, 32))
    assert metrics.retrieval_accuracy(real, real, centred=centred) == 1


def test_unrelated_images_are_retrieved_by_chance() -> None:
    random = np.random.default_rng(0)
    shares = [metrics.retrieval_accuracy(*random.normal(size=(2, 64, 32))) for _ in range(200)]
    assert np.mean(shares) == pytest.approx(1 / 64, abs=0.004)


@given(st.integers(2, 64), st.booleans())
def test_a_model_that_always_draws_the_same_gets_chance_and_no_more(count: int, centred: bool) -> None:
    real = np.random.default_rng(count).normal(1, 1, (count, 32))
    same = np.repeat(real[:1], count, axis=0)
    assert metrics.retrieval_accuracy(same, real, centred=centred) == pytest.approx(1 / count)


def test_duplicate_real_images_share_a_hit() -> None:
    real = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert metrics.retrieval_matches(real, real).diagonal().tolist() == [0.5, 0.5, 1.0]


def test_centring_finds_what_a_common_part_hides() -> None:
    random = np.random.default_rng(3)
    common, own = np.abs(random.normal(4, 1, 32)), random.normal(size=(64, 32))
    # Washed-out images: the right things, but faint beside what all images have in common.
    generated, real = common + 0.2 * own, common + own
    assert metrics.retrieval_accuracy(generated, real, centred=False) < 0.7
    assert metrics.retrieval_accuracy(generated, real) == 1


@given(feature_pairs())
def test_distances_do_not_depend_on_the_order_of_the_rows(pair: tuple[Array, Array]) -> None:
    for distance in (metrics.frechet_distance, metrics.kernel_distance):
        assert distance(*shuffled_rows(*pair)) == pytest.approx(distance(*pair), abs=1e-4)


@given(feature_pairs())
def test_distances_are_symmetric_and_zero_for_a_copy(pair: tuple[Array, Array]) -> None:
    a, b = pair
    for distance in (metrics.frechet_distance, metrics.kernel_distance):
        assert distance(a, b) == pytest.approx(distance(b, a), abs=1e-4)
        assert distance(a, a) == pytest.approx(0, abs=1e-4)
    assert metrics.frechet_distance(a, b) > -1e-4


@given(st.floats(-5, 5), st.integers(2, 40))
def test_frechet_distance_of_a_shift_is_its_square(shift: float, count: int) -> None:
    features = np.random.default_rng(count).normal(size=(count, 8))
    assert metrics.frechet_distance(features + shift, features) == pytest.approx(8 * shift**2, abs=1e-3)


def test_frechet_distance_in_the_span_is_the_one_of_torch_fidelity() -> None:
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    random = np.random.default_rng(1)
    a, b = random.normal(size=(20, 96)), random.normal(0.3, 2, size=(24, 96))
    full = fid_statistics_to_metric(*(fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)), False)
    assert metrics.frechet_distance(a, b) == pytest.approx(full["frechet_inception_distance"], rel=1e-6)


def test_kernel_distance_follows_its_formula() -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 9, 5))

    def kernel(u: Array, v: Array) -> float:
        return float((u @ v / 5 + 1) ** 3)

    others = [(i, j) for i in range(9) for j in range(9) if i != j]
    terms = [
        kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i]) for i, j in others
    ]
    assert metrics.kernel_distance(x, y) == pytest.approx(np.mean(terms))


def test_kernel_distance_of_equal_distributions_is_zero_on_average() -> None:
    random = np.random.default_rng(4)
    distances = [metrics.kernel_distance(*random.normal(size=(2, 32, 8))) for _ in range(300)]
    assert abs(np.mean(distances)) < 3 * np.std(distances) / np.sqrt(300)
    assert metrics.kernel_distance(random.normal(size=(32, 8)), random.normal(2, 1, (32, 8))) > max(distances)


def test_kernel_distance_over_subsets_is_near_that_of_the_whole() -> None:
    a, b = np.random.default_rng(5).normal(size=(2, 300, 8))
    b = b + 1
    whole = metrics.kernel_distance(a, b)
    assert metrics.kernel_distance(a, b, subset_size=100, subsets=50) == pytest.approx(whole, rel=0.1)
    assert metrics.kernel_distance(a, b, subset_size=100) == metrics.kernel_distance(a, b, subset_size=100)


@given(feature_pairs())
def test_shuffled_cosine_is_the_mean_over_all_rolls(pair: tuple[Array, Array]) -> None:
    a, b = pair
    matched, shuffled = matched_and_shuffled(a, b)
    cosines = cosine_similarity(a, b)
    assert matched == pytest.approx(np.mean(np.diagonal(cosines)))
    rolls = [np.mean(np.diagonal(np.roll(cosines, -shift, axis=1))) for shift in range(1, len(a))]
    assert shuffled == pytest.approx(np.mean(rolls))
    assert -1 - 1e-9 <= matched <= 1 + 1e-9


def test_a_single_text_has_no_shuffle() -> None:
    matched, shuffled = matched_and_shuffled(np.ones((1, 3)), np.ones((1, 3)))
    assert matched == pytest.approx(1) and np.isnan(shuffled)


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_interval_holds_the_share(count: int, share: float) -> None:
    low, high = metrics.wilson_interval(share, count)
    assert 0 <= low <= share + 1e-9 and share - 1e-9 <= high <= 1
    fewer = metrics.wilson_interval(share, max(1, count // 4))
    assert high - low <= fewer[1] - fewer[0] + 1e-9


@pytest.mark.parametrize("shapes", [((3, 4), (3, 5)), ((1, 4), (1, 4)), ((3, 4), (4,))])
def test_features_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = (np.ones(shape) for shape in shapes)
    for distance in (metrics.frechet_distance, metrics.kernel_distance):
        with pytest.raises(ValueError, match=r"features must be|samples a set"):
            distance(a, b)
