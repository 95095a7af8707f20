"""How much prompts and raters matter, to plan the next arena with. Pure."""

from __future__ import annotations

import numpy as np

from commoncanvas.arena.statistics.tables import Floats, Indices


def share_explained(votes: Floats, clusters: Indices) -> float | None:
    """Share of the variance of votes that is common to a cluster (intraclass correlation), at least 0.

    The mean product of residuals of two votes of one cluster, divided by their variance. None if no cluster has two
    votes, or all votes are the same.
    """
    if len(votes) < 2:
        return None
    residuals = votes - votes.mean()
    sums = np.bincount(clusters, residuals)
    sizes = np.bincount(clusters)
    pairs = float((sizes * (sizes - 1)).sum())
    variance = float((residuals**2).mean())
    if not pairs or not variance:
        return None
    return max(float((sums**2).sum() - (residuals**2).sum()) / pairs / variance, 0.0)
