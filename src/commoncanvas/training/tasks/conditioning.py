"""The condition of a diffusion network: text states of each row's text, of a randomly drawn text, or of no text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from commoncanvas.catalog import Catalog
from commoncanvas.config import DiffusionRecipe
from commoncanvas.core.errors import TrainingError
from commoncanvas.core.text import counted
from commoncanvas.diffusion.networks.unet import added
from commoncanvas.encoding.columns import crop_column, latent_column, pooled_column, stale, text_info
from commoncanvas.encoding.command import present, text_sources
from commoncanvas.encoding.states import stored, values
from commoncanvas.models.text_encoder import TextEncoder
from commoncanvas.selection.rows import Selection
from commoncanvas.selection.select import check_columns
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.sql import all_of
from commoncanvas.table.texts import first_set, first_set_sql
from commoncanvas.training.aspects import crops
from commoncanvas.training.task import Batch


class TextSources:
    """The columns of text states that a recipe reads, each with the text columns that it was made from."""

    def __init__(self, recipe: DiffusionRecipe, catalogs: Iterable[Catalog]) -> None:
        catalogs = list(catalogs)
        self.declared = text_sources(recipe)
        self.mix = recipe.data.text_mix
        self.text_columns = {
            column: texts
            for column, sources in self.declared.items()
            if (texts := [text for text in sources if any(present([text], catalog) for catalog in catalogs)])
            or self.mix is None
        }
        self._encode = recipe.command("encode")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of states; with `text_mix` also the text columns."""
        return (*self.text_columns, *(self.texts if self.mix else ()))

    @property
    def texts(self) -> list[str]:
        return [text for texts in self.text_columns.values() for text in texts]

    def conditions(self, catalog: Catalog) -> list[str]:
        """SQL that selects rows with a text and its states. Raises TrainingError for a missing column."""
        if self.mix is None:
            (texts,) = self.text_columns.values()
            existing = present(texts, catalog)
            return [f"{first_set_sql(existing)} IS NOT NULL"] if existing else []
        drawn = {name: text for name, (text,) in self.text_columns.items() if present([text], catalog)}
        check_columns(catalog, list(drawn), self._encode)
        both = [f"({name} IS NOT NULL AND {text} IS NOT NULL)" for name, text in drawn.items()]
        return [f"({' OR '.join(both)})" if both else "FALSE"]

    def check_fresh(self, selection: Selection) -> None:
        """Raises TrainingError if a row's text has changed since its states were made."""
        catalog = selection.catalog
        for column, sources in self.text_columns.items():
            texts = present(sources, catalog)
            if not texts:
                continue
            changed = all_of(
                selection.filter,
                f"{column} IS NOT NULL",
                f"{first_set_sql(texts)} IS NOT NULL",
                stale(column, texts),
            )
            if count := catalog.count(changed):
                raise TrainingError(
                    f"column {column} of {catalog.uri} is out of date: the text has changed in "
                    f"{counted(count, 'rows')}; to encode only these again: {self._encode}"
                )

    def drawn(self, table: pa.Table, draws_B: NDArray[np.float64]) -> NDArray[np.int64]:
        """For each row, the index in `text_columns` of the column that it draws, with the recipe's shares."""
        if self.mix is None:
            return np.zeros(len(table), np.int64)
        drawable = {
            text: pc.and_(table[name].is_valid(), table[text].is_valid())
            for name, (text,) in self.text_columns.items()
        }
        shares_BN = np.stack([set_B.to_numpy() * self.mix[text] for text, set_B in drawable.items()], axis=1)
        ends_BN = np.cumsum(shares_BN, axis=1)
        drawn_B: NDArray[np.int64] = (draws_B[:, None] * ends_BN[:, -1:] >= ends_BN).sum(1)
        return drawn_B


class Conditioning:
    """Reads text states [B, L, D] and makes the network's keyword arguments from them.

    This class is for a U-Net with one text encoder; see `conditioning_of`.
    """

    def __init__(self, recipe: DiffusionRecipe, sources: TextSources, encoder: TextEncoder) -> None:
        self.sources = sources
        self.encoder = encoder
        self.shape = (recipe.text_length, encoder.width)
        self.infos: dict[str, ColumnInfo] = {
            name: text_info(encoder, recipe.text_encoder, sources.declared[name], name, recipe.encode)
            for name in sources.text_columns
        }
        # Caption dropout replaces a row's states by those of the empty caption, which guidance uses in sampling.
        states, pooled = encoder.encode([""])
        self.empty_LD = states[0]
        self.empty_P = torch.zeros(0) if pooled is None else pooled[0]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.sources.columns

    def read(self, table: pa.Table, draws_B: NDArray[np.float64]) -> Batch:
        return self._read(table, self.sources.drawn(table, draws_B))

    def _read(self, table: pa.Table, drawn_B: NDArray[np.int64]) -> Batch:
        return {"text": _gathered(table, list(self.sources.text_columns), self.shape, drawn_B)}

    def arguments(self, batch: Batch) -> dict[str, Any]:
        """The condition of each sample; for a dropped caption, the empty caption's states."""
        dropped_B = batch["dropped"]
        text_BLD = values(batch["text"], self.shape)
        empty_LD = self.empty_LD.to(dropped_B.device)
        return {"encoder_hidden_states": torch.where(dropped_B[:, None, None], empty_LD, text_BLD)}


class MaskedConditioning(Conditioning):
    """For a transformer, which must not attend to padding: also the attention mask of each text, bool [B, L]."""

    def __init__(self, recipe: DiffusionRecipe, sources: TextSources, encoder: TextEncoder) -> None:
        super().__init__(recipe, sources, encoder)
        self.empty_L = encoder.masks([""])[0]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*super().columns, *self.sources.texts)

    def _read(self, table: pa.Table, drawn_B: NDArray[np.int64]) -> Batch:
        # The texts that the states were made from: `check_fresh` has refused changed ones.
        texts = [first_set(table, names) for names in self.sources.text_columns.values()]
        chosen = [texts[number][row].as_py() for row, number in enumerate(drawn_B)]
        return super()._read(table, drawn_B) | {"seen": self.encoder.masks(chosen)}

    def arguments(self, batch: Batch) -> dict[str, Any]:
        dropped_B = batch["dropped"]
        empty_L = self.empty_L.to(dropped_B.device)
        mask_BL = torch.where(dropped_B[:, None], empty_L, batch["seen"])
        return super().arguments(batch) | {"encoder_attention_mask": mask_BL}


class PooledConditioning(Conditioning):
    """For SDXL's U-Net: also the pooled state [B, P] of its pair of encoders, and sizes and crop of the image."""

    def __init__(self, recipe: DiffusionRecipe, sources: TextSources, encoder: TextEncoder) -> None:
        super().__init__(recipe, sources, encoder)
        self._pooled = [pooled_column(name) for name in sources.text_columns]
        self._crop = crop_column(latent_column(recipe.vae, recipe.size))

    @property
    def columns(self) -> tuple[str, ...]:
        return (*super().columns, *self._pooled, self._crop)

    def _read(self, table: pa.Table, drawn_B: NDArray[np.int64]) -> Batch:
        return super()._read(table, drawn_B) | {
            "pooled": _gathered(table, self._pooled, (self.encoder.pooled_width,), drawn_B),
            "crop": torch.tensor(crops(table[self._crop])),
        }

    def arguments(self, batch: Batch) -> dict[str, Any]:
        dropped_B = batch["dropped"]
        pooled_BP = values(batch["pooled"], (self.encoder.pooled_width,))
        pooled_BP = torch.where(dropped_B[:, None], self.empty_P.to(dropped_B.device), pooled_BP)
        return super().arguments(batch) | added(pooled_BP, batch["crop"])


def conditioning_of(recipe: DiffusionRecipe, sources: TextSources, encoder: TextEncoder) -> Conditioning:
    """The conditioning that the recipe's network needs."""
    if recipe.transformer:
        return MaskedConditioning(recipe, sources, encoder)
    return (PooledConditioning if encoder.pair else Conditioning)(recipe, sources, encoder)


def _gathered(
    table: pa.Table, columns: Sequence[str], shape: Sequence[int], drawn_B: NDArray[np.int64]
) -> Tensor:
    """Stored states, each row's from the column of `columns` that it drew."""
    if len(columns) == 1:
        return stored(table[columns[0]], shape)
    places = [np.flatnonzero(drawn_B == number) for number in range(len(columns))]
    parts = [stored(table[name].take(pa.array(at)), shape) for name, at in zip(columns, places, strict=True)]
    return torch.cat(parts)[torch.from_numpy(np.argsort(np.concatenate(places)))]
