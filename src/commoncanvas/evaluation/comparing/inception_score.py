"""The inception score of one set of images. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPLITS = 10


def inception_score(logits: NDArray[np.floating]) -> tuple[float, NDArray[np.float64]]:
    """IS from logits [N, classes] (Salimans et al., arXiv 1606.03498): torch-fidelity's mean over ten splits; and how
    much each sample moves the score of a whole set [N], to first order.
    """
    import torch
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    x = torch.from_numpy(np.asarray(logits)).double()
    log_p = x.log_softmax(dim=1)
    q = log_p.exp().mean(dim=0, keepdim=True)
    divergence = (log_p.exp() * (log_p - q.log())).sum(dim=1).numpy()
    value = float(isc_features_to_metric(x, splits=SPLITS)[KEY_METRIC_ISC_MEAN])
    return value, value * (divergence - divergence.mean())
