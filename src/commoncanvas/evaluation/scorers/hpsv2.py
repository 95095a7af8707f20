"""HPSv2 and HPSv2.1 (Wu et al., arXiv 2306.09341): an OpenCLIP ViT-H/14 trained on people's preferences."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commoncanvas.core.errors import MissingExtraError, ModelError
from commoncanvas.core.text import one_line
from commoncanvas.evaluation.networks.normal import CLIP
from commoncanvas.evaluation.scorers.clip import BATCH, PRECISION
from commoncanvas.evaluation.scorers.scorer import Figure, Images, Judgement, ScorerInfo, TextScorer
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.models.devices import pick_device
from commoncanvas.models.hub import find
from commoncanvas.options.scorers import ScorerOptions
from commoncanvas.provenance.digests import file_sha256

ARCHITECTURE = "ViT-H-14"
HUB_ID = "xswu/HPSv2"
VERSIONS = {"v2.0": "HPS_v2_compressed.pt", "v2.1": "HPS_v2.1_compressed.pt"}
LICENSE = "apache-2.0"
"""As the authors' repository and its hub page state it."""


class HPSv2(TextScorer):
    """MODEL is the authors' file of weights, or v2.0 or v2.1 for the hub's.

    The two versions are different models, and the functions of the authors' package have different defaults. So a
    version must be named here, and the result has the file's digest. An image is resized by its longest
    side and padded with black, as their package does it. The mean is over all images.
    """

    figures: ClassVar = {"hpsv2": Figure(False, "100 x the cosine of image and prompt")}

    def __init__(self, model: str, options: ScorerOptions, device: str = "auto") -> None:
        try:
            import open_clip
        except ImportError as error:
            raise MissingExtraError("hpsv2 needs open_clip; pip install 'commoncanvas[clip]'") from error
        path = _weights(model)
        network: Any = open_clip.create_model(ARCHITECTURE, pretrained=None, precision="fp32")
        _fill(network, path)
        self._device = pick_device(device)
        self._network = network.to(self._device).eval()
        self._tokenizer: Any = open_clip.get_tokenizer(ARCHITECTURE)
        side = network.visual.image_size
        self._side: int = side[0] if isinstance(side, tuple) else side
        self.info = ScorerInfo(
            "hpsv2",
            path.name,
            None,
            file_sha256(path),
            LICENSE,
            f"longest side {self._side} by torch's bicubic filter on floats, padded; CLIP's mean and deviation",
            {"precision": PRECISION, "tokens": self._tokenizer.context_length},
        )

    @staticmethod
    def look(model: str, options: ScorerOptions) -> None:
        _weights(model)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[SuitePrompt], images: Images) -> list[Judgement]:
        found = []
        for start in range(0, len(images), BATCH):
            pixels = torch.stack([prepared(image, self._side) for image in images[start : start + BATCH]])
            texts = [prompt.text for prompt in prompts[start : start + BATCH]]
            seen = self._network.encode_image(pixels.to(self._device), normalize=True)
            read = self._network.encode_text(self._tokenizer(texts).to(self._device), normalize=True)
            scores = (100 * (seen * read).sum(-1)).tolist()
            found += [
                Judgement({"hpsv2": score}, cut=self._cut(text))
                for score, text in zip(scores, texts, strict=True)
            ]
        return found

    def _cut(self, text: str) -> bool:
        tokens: list[int] = self._tokenizer.encode(text)
        return len(tokens) + 2 > int(self._tokenizer.context_length)  # with its marks of begin and end


def prepared(image: NDArray[np.uint8], side: int) -> Tensor:
    """[H, W, 3] -> [3, side, side]: resized after it became floats, and never rounded, as the authors' package does."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import normalize, pad, resize

    pixels = torch.tensor(image).permute(2, 0, 1) / 255
    scale = side / max(image.shape[:2])
    height, width = (round(length * scale) for length in image.shape[:2])
    if scale != 1:
        pixels = resize(pixels, [height, width], InterpolationMode.BICUBIC, antialias=True)
    left, top = (side - width) // 2, (side - height) // 2
    padded = pad(pixels, [left, top, side - width - left, side - height - top], fill=0)
    tensor: Tensor = normalize(padded, *CLIP)
    return tensor


def _weights(model: str) -> Path:
    """The file of weights. Raises ModelError."""
    if Path(model).is_file():
        return Path(model)
    path = find(HUB_ID, VERSIONS[model], what="scorer") if model in VERSIONS else None
    if path is None:
        raise ModelError(
            f"hpsv2 {model}: give the file HPS_v2.1_compressed.pt, or one of {', '.join(VERSIONS)} for {HUB_ID} on the "
            "hub"
        )
    return path


def _fill(network: Any, path: Path) -> None:
    """Load the weights, all of them. Raises ModelError."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        saved = saved.get("state_dict", saved)
        problem = network.load_state_dict(saved, strict=False)
    except (OSError, RuntimeError, ValueError, AttributeError, pickle.UnpicklingError) as error:
        raise ModelError(f"hpsv2 {path} can't be read as its weights: {one_line(error)}") from error
    if problem.missing_keys:
        raise ModelError(
            f"hpsv2 {path} lacks weights of {ARCHITECTURE} ({problem.missing_keys[0]}); download it again"
        )
