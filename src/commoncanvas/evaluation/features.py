"""Image features for evaluation: EfficientNet-Lite0 as a feature extractor of torch-fidelity.

FID is defined on InceptionV3, whose weights pip doesn't install. So the distances here have this extractor's
name, and can only be compared with each other.

Shapes: N images, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity import register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.utils import create_feature_extractor, get_featuresdict_from_dataset

from commoncanvas.models import efficientnet

EXTRACTOR = "efficientnet-lite0"
LAYER = "1280"
RESIZE = "224 x 224, bilinear, antialiased, torch"


class EfficientNetLite0Features(FeatureExtractorBase):  # type: ignore[misc]  # torch-fidelity is untyped
    """Pooled features of ImageNet-trained EfficientNet-Lite0, in torch-fidelity's protocol."""

    def __init__(self, name: str, features_list: Sequence[str], **_options: Any) -> None:
        super().__init__(name, list(features_list))
        self.network = efficientnet.load()

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return (LAYER,)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return LAYER

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    @staticmethod
    def get_dummy_input_for_compile() -> Tensor:
        return torch.zeros((1, 3, efficientnet.INPUT_SIZE, efficientnet.INPUT_SIZE), dtype=torch.uint8)

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        """uint8 RGB [N, 3, H, W] -> ([N, 1280] float32,)."""
        return (self.network(input),)


register_feature_extractor(EXTRACTOR, EfficientNetLite0Features)


class ImageDataset(Dataset[Tensor]):
    """uint8 images [N, H, W, 3] as the tensors [3, H, W] that torch-fidelity reads."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.images[index]).permute(2, 0, 1)


class Extractor:
    """The registered extractor. It is loaded once."""

    def __init__(self, device: torch.device, batch_size: int = 32) -> None:
        self.cuda = device.type == "cuda"
        self.batch_size = batch_size
        self.network = create_feature_extractor(EXTRACTOR, [LAYER], cuda=self.cuda, verbose=False)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 RGB images [N, H, W, 3] -> features [N, 1280]."""
        features = get_featuresdict_from_dataset(
            ImageDataset(images),
            self.network,
            self.batch_size,
            self.cuda,
            save_cpu_ram=True,  # no loader processes: the images are in memory already
            verbose=False,
        )
        return np.asarray(features[LAYER].numpy(), dtype=np.float32)
