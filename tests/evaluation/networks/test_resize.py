"""Our resizes give the values of the tools that figures are compared with."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

from commoncanvas.evaluation.networks.resize import pillow, shortest, tensorflow

SIDES = st.integers(1, 700)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(SIDES, SIDES, st.sampled_from([8, 64, 299]))
@settings(max_examples=40, deadline=None)
def test_bicubic_is_pillows_on_floats_as_clean_fid_calls_it(height: int, width: int, size: int) -> None:
    image = noise(height, width)
    channels = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
    theirs = [np.asarray(one.resize((size, size), Image.Resampling.BICUBIC)).clip(0, 255) for one in channels]
    np.testing.assert_allclose(pillow(image, size), np.stack(theirs, axis=2), atol=1e-3)


@given(SIDES, SIDES, st.sampled_from([8, 64, 299]))
@settings(max_examples=40, deadline=None)
def test_bilinear_is_tensorflow_1s_as_torch_fidelity_has_it(height: int, width: int, size: int) -> None:
    image = noise(height, width)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    theirs = interpolate_bilinear_2d_like_tensorflow1x(pixels, size=(size, size), align_corners=False)
    np.testing.assert_allclose(tensorflow(image, size), theirs[0].permute(1, 2, 0).numpy(), atol=2e-2)


@given(st.integers(20, 700), st.integers(20, 700))
@settings(max_examples=40, deadline=None)
def test_the_centre_is_the_one_of_clips_own_transform(height: int, width: int) -> None:
    image = noise(height, width)
    transform = CenterCrop(64), Resize(64, InterpolationMode.BICUBIC)
    theirs = np.asarray(transform[0](transform[1](Image.fromarray(image))))
    assert (shortest(image, 64) == theirs).all()
