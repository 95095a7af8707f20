"""An image is the same alone and in any list, whatever the pipeline; the plain pipeline draws it but for rounding."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from numpy.typing import NDArray

from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.batches import MOST, Painter, call
from commoncanvas.diffusion.sampling import denoiser_of
from commoncanvas.encoding.command import encode
from commoncanvas.training.tasks.diffusion import DiffusionTask
from tests.training.test_scaling import PIPELINES, prepared

PROMPTS = ["a red square", "a blue dot", "", "a red square", "green"]
NEGATIVES = ["", "red", "", "", "blue"]
SEEDS = [4, 1, 0, 5, 2**62]


@pytest.fixture(scope="module", params=PIPELINES)
def pipeline(request: pytest.FixtureRequest, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("pipeline")
    shutil.copytree(drawn, folder, dirs_exist_ok=True)
    made = prepared("scaled", request.param, folder)
    encode(made)
    task = DiffusionTask(made, None)
    torch.manual_seed(0)
    for weights in task.model.parameters():  # also those that begin as zeros
        weights.data.normal_(0, 0.1)
    built = task.pipeline(task.model.eval())
    assert type(built).__name__ == request.param
    return built


def arrays(painter: Painter, chosen: Sequence[int], **settings: Any) -> list[NDArray[np.int64]]:
    images = painter.images(
        [PROMPTS[each] for each in chosen],
        negative_prompts=[NEGATIVES[each] for each in chosen],
        seeds=[SEEDS[each] for each in chosen],
        **{"guidance_scale": 3.0, "steps": 3} | settings,
    )
    return [np.asarray(image).astype(int) for image in images]


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_an_image_does_not_depend_on_the_others(pipeline: Any, guidance_scale: float) -> None:
    every = list(range(len(PROMPTS)))
    listed = arrays(Painter(pipeline), every * 3, guidance_scale=guidance_scale)
    assert len(listed) > MOST["cpu"] > 1
    for chosen in ([2], [4, 1], every[::-1]):
        images = arrays(Painter(pipeline), chosen, guidance_scale=guidance_scale)
        for image, place in zip(images, chosen, strict=True):
            assert (image == listed[place]).all() and (image == listed[place + len(every)]).all()
    assert (listed[0] != listed[3]).any() and image.std() > 1


def test_the_plain_pipeline_draws_the_same_but_for_rounding(pipeline: Any) -> None:
    for place, ours in enumerate(arrays(Painter(pipeline), range(len(PROMPTS)))):
        negative = {"negative_prompt": NEGATIVES[place]} if NEGATIVES[place] else {}
        (plain,) = call(
            pipeline,
            prompt=PROMPTS[place],
            guidance_scale=3.0,
            num_inference_steps=3,
            generator=torch.Generator().manual_seed(SEEDS[place]),
            **negative,
        )
        assert np.abs(ours - np.asarray(plain)).max() <= 1


def test_bf16_products_change_an_image_a_little(pipeline: Any) -> None:
    every = range(len(PROMPTS))
    plain = arrays(Painter(pipeline), every)
    faster = arrays(Painter(pipeline), every, precision="bf16")
    for one, other in zip(plain, faster, strict=True):
        assert 0 < np.abs(one - other).mean() < 2
    # Alone as in a list; and nothing of it stays behind in the pipeline.
    assert (arrays(Painter(pipeline), [3], precision="bf16")[0] == faster[3]).all()
    assert (arrays(Painter(pipeline), [3])[0] == plain[3]).all()
    assert not torch.is_autocast_enabled("cpu")
    denoiser = denoiser_of(pipeline)
    assert not denoiser._forward_hooks
    assert {type(each) for each in denoiser.attn_processors.values()} == {AttnProcessor2_0}


def test_latents_stay_in_fp32_beside_bf16_products(pipeline: Any) -> None:
    seen: list[torch.dtype] = []
    images = Painter(pipeline).images(
        [PROMPTS[0]],
        seeds=[1],
        guidance_scale=3.0,
        steps=3,
        precision="bf16",
        on_step=lambda *step: seen.append(step[2].dtype),
    )
    list(images)
    assert seen and set(seen) == {torch.float32}


@pytest.mark.parametrize(("precision", "words"), [("fp16", "needs a GPU"), ("int8", "give one of fp32")])
def test_a_precision_that_does_not_work_is_refused(pipeline: Any, precision: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        arrays(Painter(pipeline), [0], precision=precision)


def test_texts_are_encoded_once(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    encode_prompt = pipeline.encode_prompt

    def counted(prompt: Any, *args: Any, **options: Any) -> Any:
        if prompt is not None:
            encoded.append(prompt)
        return encode_prompt(prompt, *args, **options)

    monkeypatch.setattr(pipeline, "encode_prompt", counted)
    painter = Painter(pipeline)
    for _ in range(2):
        arrays(painter, [0, 3, 0, 4])
    assert encoded == ["a red square", "green"]


def test_a_pipeline_of_another_class_gets_the_texts(pipeline: Any) -> None:
    class Another(type(pipeline)):  # type: ignore[misc]
        pass

    ours = arrays(Painter(pipeline), [0, 3])
    pipeline.__class__, before = Another, type(pipeline)
    try:
        for one, other in zip(ours, arrays(Painter(pipeline), [0, 3]), strict=True):
            assert np.abs(one - other).max() <= 1
    finally:
        pipeline.__class__ = before


def test_batches_get_smaller_when_memory_runs_out(pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = arrays(Painter(pipeline), range(3))
    painter, sizes = Painter(pipeline), []
    batch = painter._batch

    def small(texts: Any, *settings: Any) -> Any:
        sizes.append(len(texts))
        if len(texts) > 2:
            raise torch.OutOfMemoryError
        return batch(texts, *settings)

    monkeypatch.setattr(painter, "_batch", small)
    for one, other in zip(wanted, arrays(painter, range(3)), strict=True):
        assert np.abs(one - other).max() <= 1
    assert sizes == [8, 4, 2, 2]
    arrays(painter, [0])
    assert sizes[4:] == [2]


def test_large_images_are_drawn_one_by_one_on_a_cpu(pipeline: Any) -> None:
    painter, side = Painter(pipeline), pipeline.vae_scale_factor
    sizes = [painter._batch_size(cells * side, cells * side) for cells in (1, 8, 16, 32, 64)]
    assert sizes == [8, 8, 2, 1, 1]
