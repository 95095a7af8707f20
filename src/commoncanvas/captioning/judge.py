"""The judge of the XS captioner: what sentence an image's features lead one to expect, and which known phrase is
nearest to it.

Kernel ridge regression from image features to sentence embeddings (Saunders, Gammerman & Vovk 1998). With more images
than ANCHORS, it is the Nyström approximation (Williams & Seeger 2001): a random part of the images are its anchors.

Shapes: N images, M anchors, D features of an image (all cells of its map), E the embeddings' width, P phrases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

ANCHORS = 2048
SHARPNESS = 3.0
"""The kernel is exp(SHARPNESS (cosine - 1)), of centred square roots of features. 2 to 4 are about as good."""
RIDGE = 0.1
JITTER = 1e-6
FOLDS = 5
AT_ONCE = 1024
LEVELS = 101

Embed = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class Judge:
    """What `fit` found. `levels`: percentiles 0 to 100 of how sure it was of training images that it had not seen."""

    centre_D: Tensor
    anchors_MD: Tensor
    weights_ME: Tensor
    mean_E: Tensor
    phrases_PE: Tensor
    levels: Tensor

    @classmethod
    def fit(cls, features: Tensor, labels: Sequence[str], embed: Embed, seed: int) -> tuple[Self, list[str]]:
        """Fit to images' features [N, F, H, W] and their labels; returns the judge and its phrases: the labels, and
        the words in them.
        """
        phrases = phrases_of(labels)
        phrases_PE = embed(phrases)
        places = {phrase: place for place, phrase in enumerate(phrases)}
        targets_NE = phrases_PE[[places[label] for label in labels]]
        shuffled_N = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        sure = []
        for fold in range(FOLDS if len(labels) >= 2 * FOLDS else 0):
            rest = shuffled_N[torch.arange(len(labels)) % FOLDS != fold]
            known = phrases_PE[[places[each] for each in phrases_of([labels[int(place)] for place in rest])]]
            other = cls._fitted(features, targets_NE, rest, known)
            for part in torch.split(shuffled_N[fold::FOLDS], AT_ONCE):
                sure.append((other.expected(features[part]) @ known.T).amax(1))
        judge = cls._fitted(features, targets_NE, shuffled_N, phrases_PE)
        if not sure:
            return judge, phrases
        levels = torch.quantile(torch.cat(sure), torch.linspace(0, 1, LEVELS))
        return replace(judge, levels=levels), phrases

    @classmethod
    def _fitted(cls, features: Tensor, targets_NE: Tensor, chosen_N: Tensor, phrases_PE: Tensor) -> Self:
        """Solve (K_MN K_NM + RIDGE K_MM) W = K_MN (targets - mean), a part of the N `chosen` images at a time; the
        first M of them are the anchors.
        """
        anchors_M = chosen_N[:ANCHORS]
        roots_MD = _roots(features[anchors_M])
        centre_D = roots_MD.mean(0)
        # As they are stored, so that a judge that was loaded says the same.
        anchors_MD = normalize(roots_MD - centre_D, dim=1).half().float()
        mean_E = targets_NE[chosen_N].mean(0)
        judge = cls(
            centre_D,
            anchors_MD,
            torch.zeros(len(anchors_M), 0),
            mean_E,
            phrases_PE,
            torch.full((LEVELS,), -1.0),
        )
        kernel_MM = judge._kernel(features[anchors_M])
        left_MM = RIDGE * kernel_MM + JITTER * len(kernel_MM) * torch.eye(len(kernel_MM), dtype=torch.float64)
        right_ME = torch.zeros(len(kernel_MM), targets_NE.shape[1], dtype=torch.float64)
        for part in torch.split(chosen_N, AT_ONCE):
            kernel_NM = judge._kernel(features[part])
            left_MM += kernel_NM.T @ kernel_NM
            right_ME += kernel_NM.T @ (targets_NE[part] - mean_E).double()
        weights_ME = torch.linalg.solve(left_MM, right_ME).float()
        return replace(judge, weights_ME=weights_ME)

    def _kernel(self, features: Tensor) -> Tensor:
        """[N, F, H, W] -> float64 [N, M]."""
        cosine_NM = normalize(_roots(features) - self.centre_D, dim=1) @ self.anchors_MD.T
        return torch.exp(SHARPNESS * (cosine_NM.double() - 1))

    def expected(self, features: Tensor) -> Tensor:
        """Features [N, F, H, W] -> the expected sentence embeddings [N, E], of unit norm."""
        return normalize(self._kernel(features).float() @ self.weights_ME + self.mean_E, dim=1)

    def level(self, unsure: float) -> float:
        """How sure the judge must be, if a share `unsure` of images like its own is to have no caption."""
        return float(self.levels[round(unsure * (LEVELS - 1))]) if unsure else -1.0

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.__dict__)

    def to(self, device: torch.device) -> Self:
        return type(self)(**{name: tensor.to(device) for name, tensor in self.tensors().items()})


def phrases_of(labels: Sequence[str]) -> list[str]:
    """The labels, and each word of three or more letters in them, in alphabetical order."""
    return sorted(
        {*labels, *(word for label in labels for word in re.findall(r"[^\W\d_]{3,}", label.lower()))}
    )


def _roots(features: Tensor) -> Tensor:
    """[N, F, H, W] -> square roots [N, D]: a few strong features would decide every product otherwise."""
    return features.float().clamp(min=0).sqrt().flatten(1)
