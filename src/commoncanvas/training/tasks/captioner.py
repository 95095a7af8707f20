"""The captioner task: a small decoder learns human labels from image features computed ahead of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from commoncanvas.captioning.judge import Judge
from commoncanvas.captioning.xs import CaptionDecoder, DecoderConfig, Words, save_captioner
from commoncanvas.config import CaptionerRecipe
from commoncanvas.core.errors import TrainingError
from commoncanvas.encoding.columns import feature_column
from commoncanvas.encoding.command import agreed
from commoncanvas.encoding.states import states
from commoncanvas.images.grid import save_grid
from commoncanvas.images.image import decode
from commoncanvas.models.sentences import embed
from commoncanvas.models.text_encoder import MINILM, minilm_weights
from commoncanvas.models.vae import weights_sha256
from commoncanvas.provenance.record import Part, maker, part
from commoncanvas.selection.select import Pins, select_rows
from commoncanvas.training.task import Batch

DRAWN = 24


class CaptionerTask:
    notes: tuple[str, ...] = ()

    def __init__(self, recipe: CaptionerRecipe, pins: Pins | None) -> None:
        if len(recipe.data.text_columns) != 1:
            raise TrainingError(
                f"{recipe.name}: data.text must name one column of human text, such as [label]"
            )
        (self.text_column,) = recipe.data.text_columns
        self.seed = recipe.seed
        self.feature_column = feature_column(recipe.feature_grid)
        self.columns = (self.feature_column, self.text_column)
        self.rows = select_rows(recipe.data, self.columns, pins, encode=recipe.command("encode"))
        features = agreed(self.rows.catalogs, self.feature_column)
        self.shape = features.shape
        self.parts: tuple[Part, ...] = (
            maker("image_features", features),
            part("word_embeddings", MINILM, weights_sha256(minilm_weights())),
        )
        self.words = Words.of(self.rows.texts("train"), recipe.max_tokens)
        decoder = CaptionDecoder(
            DecoderConfig(
                self.words.vocabulary,
                recipe.feature_grid,
                recipe.width,
                recipe.layers,
                recipe.heads,
                recipe.dropout,
                recipe.max_tokens,
            )
        )
        decoder.word_VE.weight.data.copy_(self.words.embeddings())
        self.model: nn.Module = decoder

    def batch(self, table: pa.Table, draws: NDArray[np.float64] | None = None) -> Batch:
        return {
            "features": states(table[self.feature_column], self.shape),
            "tokens": self.words.numbers(table[self.text_column].to_pylist()),
        }

    def random_inputs(self, size: int, batch: Batch, generator: Generator, done: float) -> Batch:
        return {}

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        tokens_BT = batch["tokens"]
        scores_BTV = model(batch["features"].float(), tokens_BT[:, :-1])
        padding = self.words.vocabulary.index("[PAD]")
        return F.cross_entropy(
            scores_BTV.float().flatten(0, 1), tokens_BT[:, 1:].flatten(), ignore_index=padding
        )

    def save_samples(self, model: nn.Module, path: Path) -> None:
        split = "heldout" if len(self.rows.ids("heldout")) else "train"
        table = self.rows.read(split, slice(DRAWN), ["image", *self.columns])
        captions = self.words.texts(
            cast(CaptionDecoder, model).decode(
                self.batch(table)["features"].float().to(next(model.parameters()).device)
            )
        )
        save_grid([Image.fromarray(decode(data)) for data in table["image"].to_pylist()], captions, path)

    @torch.no_grad()
    def export(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        table = self.rows.read("train", slice(None), self.columns)
        judge, phrases = Judge.fit(
            states(table[self.feature_column], self.shape),
            table[self.text_column].to_pylist(),
            lambda texts: torch.from_numpy(embed(texts)),
            self.seed,
        )
        save_captioner(cast(CaptionDecoder, model.to("cpu")), judge, phrases, folder)
        return {"vocabulary": len(self.words.vocabulary), "phrases": len(phrases)}
