"""InceptionV3 with the weights of TensorFlow's 2015-12-05 graph, on which FID, KID and IS are defined. The network is
torch-fidelity's. Here batch norms are part of the convolutions, and images are resized once.

Shapes: B images, C channels, D = 2048 features, H and W pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from commoncanvas.core.console import say
from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line
from commoncanvas.evaluation.networks.network import Network
from commoncanvas.evaluation.networks.normal import as_channels
from commoncanvas.evaluation.networks.resize import pillow, tensorflow
from commoncanvas.evaluation.networks.weights import read_weights

SIZE = 299
URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
PUBLISHED = "6726825d"
"""How the digest of the published file begins; torch-fidelity and pytorch-fid have the same file."""
DOWNLOADED = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
"""Its names where torch-fidelity and pytorch-fid keep it, in torch's folder of downloads."""
RESIZES: dict[str, tuple[Callable[[NDArray[np.uint8], int], NDArray[np.float32]], str]] = {
    "inception-v3": (pillow, "299x299 by Pillow's bicubic filter on floats (clean-fid)"),
    "inception-v3-tf1": (tensorflow, "299x299 by TensorFlow 1's bilinear filter (torch-fidelity)"),
}
"""Name -> its resize. The network and its weights are the same."""


class InceptionV3(Network):
    """The pooled features [N, 2048] of the last block."""

    dimension = 2048

    def __init__(self, name: str, weights: str | None, device: torch.device) -> None:
        path = Path(weights) if weights else _downloaded(name)
        state, sha256 = read_weights(path, name)
        if not sha256.startswith(PUBLISHED):
            say(
                f"{path} is not the published file of InceptionV3 (sha256 {PUBLISHED}...): compare its figures only"
            )
        network = _network(state, f"{name}: {path}")
        parts = [part for part_name, part in network.named_children() if part_name != "fc"]
        self._trunk = nn.Sequential(*parts).to(device)
        _fold(self._trunk, on_cpu=device.type == "cpu")
        self._classes = network.fc.weight.numpy()
        self._resized, resize = RESIZES[name]
        super().__init__(name, sha256, f"{resize}; (pixels - 128) / 128", device)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        return as_channels(np.asarray((self._resized(image, SIZE) - 128) / 128, np.float32))

    def forward(self, batch: Tensor) -> Tensor:
        features: Tensor = self._trunk(batch.contiguous(memory_format=torch.channels_last))
        return features.flatten(1)

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features [N, 2048] -> the classes' logits without bias [N, 1008], for the inception score."""
        return np.asarray(features @ self._classes.T, np.float32)


def _downloaded(name: str) -> Path:
    folder = Path(torch.hub.get_dir(), "checkpoints")
    for file in DOWNLOADED:
        if (folder / file).is_file():
            return folder / file
    raise ModelError(f"{name} needs its weights: download {URL} and give {name}:FILE")


def _network(state: dict[str, Any], what: str) -> Any:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # torch-fidelity unpickles a file of weights without limits. This one was written here, so it has no code.
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        return FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=file
        )
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ModelError(
            f"weights of {what} are not those of FID's InceptionV3 ({one_line(error)[:200]}); download {URL}"
        ) from error


def _fold(module: nn.Module, on_cpu: bool) -> None:
    """Replace each convolution, batch norm and ReLU by one operation with the same values."""
    part: Any
    for name, part in module.named_children():
        if hasattr(part, "conv") and hasattr(part, "bn"):
            fused = fuse_conv_bn_eval(part.conv, part.bn)
            setattr(module, name, _OneDnnConv(fused) if on_cpu and _has_onednn() else _Conv(fused))
        else:
            _fold(part, on_cpu)


def _has_onednn() -> bool:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class _Conv(nn.Module):
    """A convolution and a ReLU."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv.to(memory_format=torch.channels_last)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.relu(self.conv(x_BCHW), inplace=True)


class _OneDnnConv(_Conv):
    """oneDNN's operation for both, which torch.compile uses too: the result is written to memory once."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        conv = self.conv
        made: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x_BCHW, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, 1, "relu", [], None
        )
        return made
