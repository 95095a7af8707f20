"""Figures of features: equal to torch-fidelity's, and intervals that contain the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from commoncanvas.evaluation import frechet
from commoncanvas.evaluation.comparing import kernels, manifold
from commoncanvas.evaluation.comparing.bootstrap import interval
from commoncanvas.evaluation.comparing.inception_score import inception_score
from commoncanvas.evaluation.frechet import Gaussian

D = 12


def sets(n: int = 200, m: int = 260, seed: int = 0, shift: float = 0.3) -> tuple[NDArray, NDArray]:  # type: ignore[type-arg]
    random = np.random.default_rng(seed)
    mix = np.eye(D) + 0.2 * np.random.default_rng(9).normal(size=(D, D))
    made = (random.normal(size=(n, D)) @ mix + shift).astype(np.float32)
    return made, random.normal(size=(m, D)).astype(np.float32)


def tensors(*arrays: NDArray[np.floating]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.asarray(each)) for each in arrays]


def test_the_frechet_distance_is_torch_fidelitys() -> None:
    statistics = [fid_features_to_statistics(each.double()) for each in tensors(*sets())]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet.distance(*map(Gaussian.of, sets())) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("rows", [(40, 40), (40, 60)])
def test_few_samples_lose_nothing_in_their_span(rows: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(count, 200)) for count in rows)
    fewer = frechet.in_span(a, b)
    assert fewer[0].shape[1] == sum(rows)
    full = frechet.distance(*map(Gaussian.of, (a, b)))
    assert frechet.distance(*map(Gaussian.of, fewer)) == pytest.approx(full, rel=1e-6)


def test_kid_is_torch_fidelitys_and_a_copy_is_at_most_zero() -> None:
    a, b = sets()
    theirs = kid_features_to_metric(*tensors(a, b), kid_subset_size=200, verbose=False)
    assert kernels.kid(a, b) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)
    assert kernels.kid(a, a) <= 0


def test_cmmd_is_its_papers_formula() -> None:
    a, b = sets(30, 50)
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a.astype(float), b.astype(float)))

    def mean(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
        return float(np.mean([[np.exp(-((p - q) ** 2).sum() / 200) for q in v] for p in u]))

    wanted = 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))
    assert kernels.cmmd(a, b) == pytest.approx(wanted, abs=1e-9)
    assert kernels.cmmd(a, a) == pytest.approx(0, abs=1e-9)


def test_precision_and_recall_are_torch_fidelitys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifold, "ROWS", 64)
    a, b = sets(shift=1.0)
    theirs = prc_features_to_metric(*tensors(a, b), verbose=False)
    found = manifold.neighbourhoods(a, b)
    for name in ("precision", "recall"):
        assert 0 < found[name].mean() < 1 and found[name].mean() == pytest.approx(theirs[name])


def test_density_and_coverage_are_their_papers_formulas() -> None:
    a, b = sets(70, 90, shift=0.6)
    apart = np.linalg.norm(b[:, None].astype(float) - a[None], axis=2)
    own = np.sort(np.linalg.norm(b[:, None].astype(float) - b[None], axis=2), axis=1)
    inside = apart < own[:, 5:6]
    found = manifold.neighbourhoods(a, b)
    assert found["density"].mean() == pytest.approx(inside.sum() / 5 / 70)
    assert found["coverage"].mean() == pytest.approx(inside.any(axis=1).mean())


def test_the_inception_score_is_torch_fidelitys() -> None:
    logits = 3 * np.random.default_rng(0).normal(size=(500, 20)).astype(np.float32)
    theirs = isc_features_to_metric(torch.from_numpy(logits))
    assert inception_score(logits)[0] == pytest.approx(theirs["inception_score_mean"], rel=1e-9)


def without(rows: NDArray[np.floating], index: int) -> NDArray[np.floating]:
    return np.delete(rows, index, axis=0)


def test_influences_are_what_leaving_a_sample_out_changes() -> None:
    a, b = (each.astype(np.float64) for each in sets(400, 500))
    moved = frechet.influences(Gaussian.of(a), Gaussian.of(b), (a, b))
    mmd = kernels.influences(kernels.polynomial, a, b)

    def by_frechet(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
        return frechet.distance(Gaussian.of(x), Gaussian.of(y))

    def by_kernel(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
        from torch_fidelity.metric_kid import kernel_poly

        own = [(k := kernel_poly(z, z), (k.sum() - np.trace(k)) / (len(z) * (len(z) - 1)))[1] for z in (x, y)]
        return float(sum(own) - 2 * kernel_poly(x, y).mean())

    for measure, found in ((by_frechet, moved), (by_kernel, mmd)):
        whole = measure(a, b)
        left = [(len(a) - 1) * (whole - measure(without(a, i), b)) for i in range(30)]
        right = [(len(b) - 1) * (whole - measure(a, without(b, i))) for i in range(30)]
        for jackknife, values in ((left, found[0]), (right, found[1])):
            centred = (values - values.mean())[:30]
            assert np.corrcoef(jackknife, centred)[0, 1] > 0.98
            assert np.std(jackknife) == pytest.approx(np.std(centred), rel=0.15)


@pytest.mark.slow
def test_intervals_contain_the_truth_as_often_as_they_say() -> None:
    truth = kernels.kid(*sets(1000, 1000, 999))
    biased = []
    for seed in range(100):
        a, b = sets(300, 300, seed)
        gaussians = Gaussian.of(a), Gaussian.of(b)
        found = frechet.distance(*gaussians)
        low, high = interval(found, frechet.influences(*gaussians, (a, b)), seed=seed)
        kd = interval(kernels.kid(a, b), kernels.influences(kernels.polynomial, a, b), seed=seed)
        biased.append((found, low, high, kd[0] <= truth <= kd[1]))
    # The interval is not for the bias: the mean of all is what 300 samples give.
    values, lows, highs, kernel = map(np.array, zip(*biased, strict=True))
    assert kernel.mean() >= 0.88
    assert ((lows <= values.mean()) & (values.mean() <= highs)).mean() >= 0.88


def test_the_extrapolation_takes_the_bias_away() -> None:
    """All samples are of one distribution, so the distance is 0."""
    reference = Gaussian.of(sets(10, 20_000, 5)[1])
    made = [sets(10, 250, seed)[1] for seed in range(8)]
    plain = np.mean([frechet.distance(Gaussian.of(each), reference) for each in made])
    extrapolated = np.mean([frechet.at_infinity(each, reference) for each in made])
    assert plain > 0.1 and abs(extrapolated) < plain / 4


def test_an_interval_is_a_bootstrap_of_means_and_keeps_its_bounds() -> None:
    values = np.random.default_rng(0).exponential(size=400)
    low, high = interval(float(values.mean()), [values])
    standard = values.std() / 20
    assert high - low == pytest.approx(2 * 1.96 * standard, rel=0.1)
    assert interval(0.999, [np.r_[np.zeros(1), np.ones(999)]], (0, 1))[1] <= 1
    assert interval(1.0, [np.ones(9)]) == (1.0, 1.0)
