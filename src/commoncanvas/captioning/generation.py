"""Common parts of captioners from the transformers library: loading, batching by shape, decoding.

A batch has images whose inputs have the same shapes. It is filled up to `batch_size` with copies of its last image. So
there is no padding, each shape uses the same kernels, and a caption does not depend on the other images.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from commoncanvas.captioning.captioner import Caption, caption_of
from commoncanvas.captioning.older_folders import complete
from commoncanvas.core.errors import ModelError
from commoncanvas.images.image import decode
from commoncanvas.models.card import card_license
from commoncanvas.models.devices import DTYPES, in_batches, pick_device, precision_on
from commoncanvas.models.threads import threads
from commoncanvas.models.vae import weights_sha256
from commoncanvas.models.weights import load_network, load_tokenizer
from commoncanvas.options.caption import CaptionerConfig
from commoncanvas.provenance.record import origin
from commoncanvas.table.columns import ColumnInfo

Inputs = dict[str, Tensor]
R = TypeVar("R")


class GeneratingCaptioner(ABC):
    """A transformers model that writes text about an image: greedy, with beam search, or sampled with a seed."""

    classes: tuple[str, str]
    """transformers' processor and model."""
    max_tokens = 100
    beams = 1
    prompt: str | None = None

    def __init__(self, config: CaptionerConfig) -> None:
        beams = config.beams or (1 if config.temperature else self.beams)
        if beams > 1 and config.temperature:
            raise ModelError(
                f"beams {beams} and temperature {config.temperature} exclude each other; give one of them"
            )
        self.config = config
        self.prompt = config.prompt or self.prompt
        self.batch_size = config.batch_size or 16
        self.device = pick_device(config.device)
        precision = precision_on(self.device, config.precision)
        self.processor, self.network = self._load(DTYPES[precision])
        self._generation = {
            "max_new_tokens": config.max_tokens or self.max_tokens,
            "num_beams": beams,
            "do_sample": False,
        }
        settings: dict[str, Any] = {
            "prompt": self.prompt,
            "max_tokens": self._generation["max_new_tokens"],
            "beams": beams,
            "precision": precision,
        }
        if config.temperature:
            settings |= {"temperature": config.temperature, "top_p": config.top_p, "seed": config.seed}
        revision = getattr(self.network.config, "_commit_hash", None)
        digest = weights_sha256(self.network)
        self.info = ColumnInfo(
            digest,
            (("image", None),),
            (),
            config.model,
            origin(config.model),
            settings,
            revision,
            card_license(config.model),
        )
        self.network.to(self.device)

    def _load(self, dtype: torch.dtype) -> tuple[Any, Any]:
        import transformers

        processor, model = (getattr(transformers, name) for name in self.classes)
        name, revision = self.config.model, self.config.revision
        what, kind = "captioner", self.config.kind
        loaded = load_tokenizer(processor, name, what, revision=revision, as_kind=kind)
        network = load_network(model, name, what, revision=revision, as_kind=kind, dtype=dtype)
        complete(loaded, network, f"{what} {name}")
        network.requires_grad_(False)
        for name in ("temperature", "top_p", "top_k"):  # the checkpoint's values would only cause warnings
            setattr(network.generation_config, name, None)
        return loaded, network

    @abstractmethod
    def inputs(self, image: Image.Image) -> Inputs:
        """The model's inputs for one image: tensors [1, ...], or [N, ...] for patches."""

    def prepare(self, image: bytes) -> Inputs:
        return self.inputs(Image.fromarray(decode(image)))

    def caption(self, prepared: Sequence[Inputs], ids: Sequence[str]) -> list[Caption]:
        return self._in_shapes(
            prepared,
            lambda places, size: self._batch([prepared[n] for n in places], [ids[n] for n in places], size),
        )

    def answer_probabilities(
        self, prepared: Sequence[Inputs], tokens: Sequence[Collection[int]]
    ) -> list[float]:
        """For each of N inputs, the probability that the first token of the answer is one of its `tokens`.

        It is a softmax of the network's own logits in fp32, so no setting of the checkpoint's generation (temperature,
        penalty of repetition) changes it.
        """
        return self._in_shapes(
            prepared,
            lambda places, size: self._first_tokens(
                [prepared[n] for n in places], [tokens[n] for n in places], size
            ),
        )

    def _in_shapes(self, prepared: Sequence[Inputs], run: Callable[[Sequence[int], int], list[R]]) -> list[R]:
        """Call `run` on the places of inputs with the same shapes, in batches; results in the order of `prepared`."""
        threads().follow()
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, inputs in enumerate(prepared):
            groups[_shapes(inputs)].append(place)
        found: dict[int, R] = {}
        for places in groups.values():
            done, self.batch_size = in_batches(run, places, self.batch_size)
            found |= zip(places, chain.from_iterable(done), strict=True)
        return [found[place] for place in range(len(prepared))]

    def _filled(self, prepared: list[Inputs], size: int) -> Inputs:
        """One batch of `size`, filled with copies of the last inputs."""
        filled = prepared + prepared[-1:] * (size - len(prepared))
        return {
            name: torch.cat([each[name] for each in filled]).to(self.device, _kind(first, self.network.dtype))
            for name, first in prepared[0].items()
        }

    @torch.no_grad()
    def _first_tokens(
        self, prepared: list[Inputs], tokens: Sequence[Collection[int]], size: int
    ) -> list[float]:
        settings = self._generation | {"max_new_tokens": 1, "num_beams": 1}
        found = self.network.generate(
            **self._filled(prepared, size), **settings, output_logits=True, return_dict_in_generate=True
        )
        chances = found.logits[0][: len(prepared)].float().softmax(-1).cpu()
        return [float(row[list(ids)].sum()) for row, ids in zip(chances, tokens, strict=True)]

    @torch.no_grad()
    def _batch(self, prepared: list[Inputs], ids: list[str], size: int) -> list[Caption]:
        over = size - len(prepared)
        inputs = self._filled(prepared, size)
        tokens = self.network.generate(**inputs, **self._generation, **self._chance(ids + ids[-1:] * over))
        prompt = inputs["input_ids"]
        if tokens.shape[1] >= prompt.shape[1] and torch.equal(
            tokens[: len(prompt), : prompt.shape[1]], prompt
        ):
            tokens = tokens[:, prompt.shape[1] :]
        if self.network.config.is_encoder_decoder:
            tokens = tokens[:, 1:]  # without the start token
        return [self._read(row) for row in tokens[: len(prepared)]]

    def _read(self, tokens: Tensor) -> Caption:
        end = self.network.generation_config.eos_token_id
        ends = set(end) if isinstance(end, list) else {end}
        cut = len(tokens) == self._generation["max_new_tokens"] and not ends & set(tokens.tolist())
        return caption_of(self.processor.decode(tokens, skip_special_tokens=True), cut)

    def _chance(self, ids: Sequence[str]) -> dict[str, Any]:
        if not self.config.temperature:
            return {}
        from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

        return {
            "logits_processor": LogitsProcessorList(
                [
                    TemperatureLogitsWarper(self.config.temperature),
                    *([TopPLogitsWarper(self.config.top_p)] if self.config.top_p < 1 else []),
                    _Gumbel(self.config.seed, ids),
                ]
            )
        }


class _Gumbel:
    """Sampling per image: the argmax of scores plus Gumbel noise is a sample of their softmax (arXiv 1411.0030, 2.1).
    Each image has its own noise, independent of its place in a batch.
    """

    def __init__(self, seed: int, ids: Sequence[str]) -> None:
        digests = [hashlib.sha256(f"{seed}:{one}".encode()).digest() for one in ids]
        self._generators = [
            torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1) for digest in digests
        ]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        noise = torch.stack([torch.rand(scores.shape[1], generator=one) for one in self._generators])
        gumbel = -torch.log(-torch.log(noise.double().clamp_min(1e-12)))
        return scores + gumbel.to(scores.device, scores.dtype)


def _shapes(inputs: Inputs) -> tuple[Any, ...]:
    """Images with equal shapes of all inputs can share a batch."""
    return tuple((name, tuple(tensor.shape)) for name, tensor in sorted(inputs.items()))


def _kind(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    return dtype if tensor.is_floating_point() else tensor.dtype
