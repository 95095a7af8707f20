"""Vision-language models saved before the end of 2024: their processors lack fields that transformers now needs.

Each field is filled from the model's own configuration, as transformers documents for BLIP-2
(https://huggingface.co/docs/transformers/model_doc/blip-2) and LLaVA (https://huggingface.co/docs/transformers/model_doc/llava).
"""

from __future__ import annotations

from typing import Any

import torch

from commoncanvas.core.errors import ModelError

WITH_CLASS_TOKEN = ("clip_vision_model", "chinese_clip_vision_model", "dinov2")
"""Vision towers whose first state is a class token, not a patch."""


def complete(processor: Any, network: Any, what: str) -> None:
    """Fill the fields that `processor` lacks, and give `network` its token for images, in place.

    Raises ModelError, which begins with `what` and names the field, if the configuration lacks it too.
    """
    config = network.config
    if _lacks(processor, "num_query_tokens"):
        processor.num_query_tokens = _given(config, "num_query_tokens", what)
    if _lacks(processor, "patch_size"):
        vision: Any = getattr(config, "vision_config", None)
        processor.patch_size = _given(vision, "patch_size", what)
        # Such a processor does not know about the class token either.
        if hasattr(processor, "num_additional_image_tokens"):
            processor.num_additional_image_tokens = int(vision.model_type in WITH_CLASS_TOKEN)
    if _lacks(processor, "vision_feature_select_strategy"):
        name = "vision_feature_select_strategy"
        setattr(processor, name, _given(config, name, what))
    if hasattr(config, "image_token_index") and config.image_token_index is None:
        _add_image_token(processor, network)


def _lacks(processor: Any, field: str) -> bool:
    return hasattr(processor, field) and getattr(processor, field) is None


def _given(config: Any, field: str, what: str) -> Any:
    value = getattr(config, field, None)
    if value is None:
        raise ModelError(f"{what}: set {field} in processor_config.json; config.json doesn't have it either")
    return value


def _add_image_token(processor: Any, network: Any) -> None:
    """Add the token that the image's states replace. Its own embedding is not used."""
    tokenizer = processor.tokenizer
    token = tokenizer.convert_tokens_to_ids(str(processor.image_token))
    network.config.image_token_index = token
    before = network.get_input_embeddings().num_embeddings
    if token >= before:
        network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():  # zeros, not random values, because digests include them
            for each in (network.get_input_embeddings(), network.get_output_embeddings()):
                if each is not None:
                    each.weight[before:] = 0
    generating: list[Any] = [network, getattr(network, "language_model", None)]
    for each in generating:
        if hasattr(each, "generation_config"):
            each.generation_config.suppress_tokens = [token]
