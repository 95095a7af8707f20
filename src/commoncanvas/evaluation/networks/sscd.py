"""SSCD (Pizzi et al., arXiv 2202.10261), made to find copies of images. Meta publishes it as TorchScript.

A TorchScript file is a program: what it does when it is loaded and run is up to whoever wrote it. So it is loaded only
if the user names its digest.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line
from commoncanvas.evaluation.networks.network import Network
from commoncanvas.evaluation.networks.normal import IMAGENET, normalised
from commoncanvas.evaluation.networks.resize import stretched

SIZE = 320
URL = "https://dl.fbaipublicfiles.com/sscd-copy-detection/sscd_disc_mixup.torchscript.pt"
RESIZE = "320x320 by Pillow's bilinear filter; ImageNet's mean and deviation"
_GIVEN = re.compile(r"(?P<path>.+?)(@(?P<digest>[0-9a-fA-F]{64}))?")


class Sscd(Network):
    """The descriptor, a unit vector of 512 numbers for the published networks."""

    def __init__(self, name: str, weights: str | None, device: torch.device) -> None:
        data, sha256 = _allowed(name, weights)
        try:
            self._network = torch.jit.load(io.BytesIO(data), map_location=device).eval()  # type: ignore[no-untyped-call]
            with torch.inference_mode():
                shape = self._network(torch.zeros(1, 3, SIZE, SIZE, device=device)).shape
        except (RuntimeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"{name}: {weights} is not SSCD's TorchScript: {one_line(error)[:200]}"
            ) from error
        if len(shape) != 2:
            raise ModelError(f"{name}: {weights} returns {tuple(shape)} for an image, not one vector")
        self.dimension = shape[1]
        super().__init__(name, sha256, RESIZE, device)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        return normalised(stretched(image, SIZE, Image.Resampling.BILINEAR), IMAGENET)

    def forward(self, batch: Tensor) -> Tensor:
        descriptor: Tensor = self._network(batch)
        return descriptor


def _allowed(name: str, weights: str | None) -> tuple[bytes, str]:
    """The file's bytes and their digest, which is the one that the user gave. Raises ModelError."""
    given = _GIVEN.fullmatch(weights or "")
    if given is None:
        raise ModelError(f"{name} needs its file: download {URL} and give {name}:FILE@SHA256")
    try:
        data = Path(given["path"]).read_bytes()
    except OSError as error:
        raise ModelError(f"{name}: {given['path']} can't be read: {one_line(error)}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if given["digest"] is None:
        raise ModelError(
            f"{name}: {given['path']} is TorchScript, a program that would run on this machine; if it is from {URL} or "
            f"another source that you trust, give {name}:{given['path']}@{sha256}"
        )
    if given["digest"].lower() != sha256:
        raise ModelError(
            f"{name}: {given['path']} has sha256 {sha256}, not {given['digest']}; it was not loaded"
        )
    return data, sha256
