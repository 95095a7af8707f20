"""Precision, recall, density and coverage: how far generated images lie among the real ones, and the other way. Pure.

torch-fidelity has precision and recall; they are computed here beside density and coverage, from the same distances.
Shapes: N generated and M real samples, D features.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PRECISION_NEIGHBOURS = 3
"""Of Kynkäänniemi et al., arXiv 1904.06991."""
DENSITY_NEIGHBOURS = 5
"""Of Naeem et al., arXiv 2002.09797."""
ROWS = 1000
"""Rows of a matrix of distances in memory."""


def neighbourhoods(
    generated_ND: NDArray[np.floating], real_MD: NDArray[np.floating]
) -> dict[str, NDArray[np.float64]]:
    """For each sample its part of a figure, which is their mean. A ball around a sample reaches to its k-th neighbour.

    - precision [N]: whether a generated sample is in a real one's ball; recall [M]: the other way round.
    - density [N]: the number of real balls that a generated sample is in, by k; coverage [M]: whether a generated
      sample is in a real one's ball.
    """
    generated, real = (torch.from_numpy(np.asarray(x, np.float32)) for x in (generated_ND, real_MD))
    reach, dense = _radii(real, PRECISION_NEIGHBOURS), _radii(real, DENSITY_NEIGHBOURS)
    precision, density = [], []
    covered = torch.zeros(len(real), dtype=torch.bool)
    for distances in _distances(generated, real):
        precision.append((distances <= reach).any(dim=1))
        inside = distances < dense
        density.append(inside.sum(dim=1) / DENSITY_NEIGHBOURS)
        covered |= inside.any(dim=0)
    other = _radii(generated, PRECISION_NEIGHBOURS)
    recall = [(distances <= other).any(dim=1) for distances in _distances(real, generated)]
    found = {
        "precision": torch.cat(precision),
        "recall": torch.cat(recall),
        "density": torch.cat(density),
        "coverage": covered,
    }
    return {name: values.double().numpy() for name, values in found.items()}


def _radii(x_ND: Tensor, neighbours: int) -> Tensor:
    """The distance [N] to each sample's k-th neighbour in its own set; the sample itself is the first value."""
    return torch.cat([part.kthvalue(neighbours + 1, dim=1).values for part in _distances(x_ND, x_ND)])


def _distances(x_ND: Tensor, y_MD: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(x_ND), ROWS):
        yield torch.cdist(x_ND[start : start + ROWS], y_MD)
