"""Folders from before late 2024: BLIP-2 without query and image tokens, LLaVA without a patch size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from commoncanvas.captioning import Caption, CaptionerConfig, load_captioner
from commoncanvas.captioning.generation import GeneratingCaptioner
from commoncanvas.captioning.older_folders import complete
from commoncanvas.core.errors import ModelError
from commoncanvas.images.image import encode_image
from tests.captioning import models


def loaded(kind: str, folder: str) -> GeneratingCaptioner:
    made = load_captioner(
        CaptionerConfig(folder, kind, max_tokens=8, precision="fp32", batch_size=2, device="cpu", beams=1)
    )
    assert isinstance(made, GeneratingCaptioner)
    return made


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    draw = np.random.default_rng(0)
    return [encode_image(draw.integers(0, 256, (40, 60, 3), np.uint8), "png") for _ in range(4)]


def written(captioner: GeneratingCaptioner, images: list[bytes]) -> list[Caption]:
    return captioner.caption([captioner.prepare(image) for image in images], ["x"] * len(images))


@torch.no_grad()
def by_hand(captioner: GeneratingCaptioner, image: bytes) -> str:
    """As transformers did it then: the image's states, then the text's, go into the language model."""
    network, inputs = captioner.network, captioner.prepare(image)
    seen = network.vision_model(inputs["pixel_values"]).last_hidden_state
    queries = network.qformer(
        query_embeds=network.query_tokens.expand(1, -1, -1), encoder_hidden_states=seen
    ).last_hidden_state
    words = network.get_input_embeddings()(inputs["input_ids"][:, queries.shape[1] :])
    states = torch.cat([network.language_projection(queries), words.to(queries.dtype)], dim=1)
    tokens = network.language_model.generate(
        inputs_embeds=states, attention_mask=torch.ones(states.shape[:2]), max_new_tokens=8, do_sample=False
    )
    return " ".join(captioner.processor.decode(tokens[0], skip_special_tokens=True).split())


def test_an_old_blip2_captions_as_it_did_when_it_was_published(images: list[bytes], tmp_path: Path) -> None:
    captioner = loaded("blip2", models.blip2(tmp_path / "old", old=True))
    assert captioner.processor.num_query_tokens == 4
    captions = [one.text or "" for one in written(captioner, images)]
    assert len(set(captions)) > 1
    assert captions == [by_hand(captioner, image) for image in images]


@pytest.mark.parametrize("t5", [False, True])
def test_an_old_blip2_is_the_same_at_each_load(t5: bool, images: list[bytes], tmp_path: Path) -> None:
    folder = models.blip2(tmp_path / "old", t5=t5, old=True)
    first, again = loaded("blip2", folder), loaded("blip2", folder)
    assert first.info == again.info and written(first, images) == written(again, images)


def test_an_old_llava_captions_as_the_new_one(images: list[bytes], tmp_path: Path) -> None:
    new = models.llava(tmp_path / "new")
    old = shutil.copytree(new, tmp_path / "old")
    fields = json.loads((old / "processor_config.json").read_text())
    for name in ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens"):
        del fields[name]
    (old / "processor_config.json").write_text(json.dumps(fields))
    captions = written(loaded("vlm", new), images)
    assert len(set(captions)) > 1 and written(loaded("vlm", str(old)), images) == captions


def test_a_field_that_the_configuration_lacks_too_is_named() -> None:
    processor = SimpleNamespace(vision_feature_select_strategy=None)
    with pytest.raises(
        ModelError, match=r"captioner x: set vision_feature_select_strategy in processor_config"
    ):
        complete(processor, SimpleNamespace(config=SimpleNamespace()), "captioner x")


def test_a_folder_that_lacks_nothing_stays_as_it_is(tmp_path: Path) -> None:
    processor = loaded("vlm", models.llava(tmp_path / "llava")).processor
    before = processor.to_dict()
    complete(processor, SimpleNamespace(config=SimpleNamespace()), "captioner x")
    assert processor.to_dict() == before
