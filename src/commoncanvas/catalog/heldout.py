"""Which images are held out of training: a matter of the image alone, whatever the run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def heldout_mask(image_ids: Sequence[str], fraction: float) -> NDArray[np.bool_]:
    """[N] True where an image is held out, a share `fraction` of them: a pure function of its id.

    What is held out at one fraction is held out at every larger one, so that parts trained apart can agree.
    """
    limit = int(fraction * 2**64)
    draws = (
        int.from_bytes(hashlib.sha256(f"heldout:{image_id}".encode()).digest()[:8]) for image_id in image_ids
    )
    return np.fromiter((draw < limit for draw in draws), dtype=np.bool_, count=len(image_ids))
