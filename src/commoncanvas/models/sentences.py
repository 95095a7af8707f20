"""Sentence embeddings by all-MiniLM-L6-v2: how similar two texts are in meaning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from commoncanvas.models.text_encoder import MINILM, text_encoder_path
from commoncanvas.models.weights import load_network, load_tokenizer

if TYPE_CHECKING:
    from transformers import BertModel

WIDTH = 384
BATCH = 128


@lru_cache(maxsize=1)
def _model() -> tuple[Any, BertModel]:
    from transformers import AutoTokenizer, BertModel

    path = text_encoder_path(MINILM)
    return load_tokenizer(AutoTokenizer, path, MINILM), load_network(BertModel, path, MINILM)


@torch.no_grad()
def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Texts -> float32 [N, 384] of unit norm: the mean of the states of a text's tokens, as in the model's training."""
    tokenizer, model = _model()
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), BATCH):
        tokens = tokenizer(
            list(texts[start : start + BATCH]), padding=True, truncation=True, return_tensors="pt"
        )
        mask = tokens.attention_mask[:, :, None].float()
        mean = (model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
        parts.append(torch.nn.functional.normalize(mean, dim=1).numpy())
    return np.concatenate(parts) if parts else np.zeros((0, WIDTH), dtype=np.float32)
