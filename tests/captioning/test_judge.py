"""The judge knows what was never seen when it is like what was, and it knows how sure it is."""

from __future__ import annotations

import string

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from commoncanvas.captioning import judge as module
from commoncanvas.captioning.judge import Judge, phrases_of

WORDS = [first + last for first in string.ascii_lowercase[:8] for last in ("aa", "bb", "cc", "dd")]
COUNT, WIDTH = 200, 24


def embed(texts: object) -> Tensor:
    """A direction for each text; that of two words is between those of both."""
    every = []
    for text in list(texts):  # type: ignore[call-overload]
        parts = [
            torch.randn(
                WIDTH, generator=torch.Generator().manual_seed(sum(map(ord, word)) * 31 + ord(word[0]))
            )
            for word in text.split()
        ]
        every.append(normalize(torch.stack(parts).sum(0), dim=0))
    return torch.stack(every)


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, list[str]]:
    """Features [N, F, 2, 2] that a linear map and much noise make of labels of two words."""
    generator = torch.Generator().manual_seed(5)
    labels = [
        " ".join(WORDS[int(place)] for place in torch.randint(len(WORDS), (2,), generator=generator))
        for _ in range(COUNT)
    ]
    mixed = embed(labels) @ torch.randn(WIDTH, 64 * 4, generator=generator)
    noisy = mixed + 3 * torch.randn(mixed.shape, generator=generator)
    return noisy.clamp(min=0).view(COUNT, 64, 2, 2).half(), labels


def cosines(judge: Judge, phrases: list[str], features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
    """How near the best phrase is to the label, and how sure the judge is of it."""
    sure, best = (judge.expected(features) @ judge.phrases_PE.T).max(1)
    return (embed([phrases[place] for place in best.tolist()]) * embed(labels)).sum(1), sure


@pytest.mark.parametrize("anchors", [module.ANCHORS, 60])
def test_what_was_not_seen_is_judged_better_than_by_the_nearest_image(
    data: tuple[Tensor, list[str]], anchors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANCHORS", anchors)
    features, labels = data
    judge, phrases = Judge.fit(features[:150], labels[:150], embed, seed=0)
    assert len(judge.anchors_MD) == min(anchors, 150) and phrases == phrases_of(labels[:150])
    found, sure = cosines(judge, phrases, features[150:], labels[150:])
    roots = normalize(features.float().sqrt().flatten(1) - judge.centre_D, dim=1)
    nearest = (roots[150:] @ roots[:150].T).argmax(1)
    copied = (embed([labels[place] for place in nearest.tolist()]) * embed(labels[150:])).sum(1)
    assert found.mean() > copied.mean() + 0.05
    surest = sure >= judge.level(0.5)
    assert 0.2 < surest.float().mean() < 0.8
    assert found[surest].mean() > found[~surest].mean()
    assert (sure >= judge.level(0)).all()


def test_an_expectation_does_not_depend_on_the_other_images(data: tuple[Tensor, list[str]]) -> None:
    features, labels = data
    judge, _ = Judge.fit(features[:50], labels[:50], embed, seed=0)
    every = judge.expected(features)
    assert torch.allclose(every[7:8], judge.expected(features[7:8]), atol=1e-5)
    assert torch.allclose(every.norm(dim=1), torch.ones(COUNT))


@pytest.mark.parametrize("count", [1, 2, 9, 11])
def test_few_or_equal_images_are_no_obstacle(data: tuple[Tensor, list[str]], count: int) -> None:
    features, labels = data
    same = features[:1].expand(count, -1, -1, -1)
    for some in (features[:count], same, torch.zeros_like(same)):
        judge, _ = Judge.fit(some, labels[:count], embed, seed=0)
        assert judge.expected(features).isfinite().all() and len(judge.levels) == module.LEVELS


@given(st.lists(st.text("aB é-1’", min_size=1), min_size=1))
def test_phrases_are_the_labels_and_their_words(labels: list[str]) -> None:
    phrases = phrases_of(labels)
    assert set(labels) <= set(phrases) and phrases == sorted(set(phrases))
    assert all(any(phrase in label.lower() for label in labels) for phrase in set(phrases) - set(labels))
