"""CLIP scores of captions and images, with open_clip models from a folder, the hub, or open_clip's list of names."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import MissingExtraError, ModelError
from commoncanvas.images.image import readable
from commoncanvas.models.devices import pick_device
from commoncanvas.models.hub import find
from commoncanvas.models.vae import weights_sha256
from commoncanvas.models.weights import no_questions
from commoncanvas.table.columns import ColumnInfo, sources_of

BATCH = 32
CONFIG = "open_clip_config.json"
HUB, FOLDER = "hf-hub:", "local-dir:"


class ClipModel:
    """Embeds images and texts into one space."""

    def __init__(self, model: str, pretrained: str | None = None, device: str = "auto") -> None:
        """`model`: a folder with open_clip_config.json and weights, `hf-hub:...`, or an open_clip name together with
        the `pretrained` tag of its weights. Raises MissingExtraError, ModelError.
        """
        try:
            import open_clip
        except ImportError as error:
            raise MissingExtraError(
                "the CLIP score needs open_clip; pip install 'commoncanvas[clip]'"
            ) from error
        name = f"{FOLDER}{Path(model).absolute()}" if Path(model).is_dir() else model
        if ":" not in name and pretrained is None:
            raise ModelError(
                f"CLIP model {model} is not a folder; give a folder, hf-hub:..., or also --clip-pretrained"
            )
        # Pages and columns are shared with others, so they must not show the folder's path.
        self.name = Path(model).resolve().name if Path(model).is_dir() else model
        self.name += f", {pretrained}" if ":" not in name else ""
        try:
            _refuse_code(name)
            with no_questions():
                # Else, without weights, open_clip would only warn and use random weights.
                self._network, self._transform = open_clip.create_model_from_pretrained(
                    name, pretrained=pretrained, weights_only=True
                )
                self._tokenizer: Any = open_clip.get_tokenizer(name)
        except Exception as error:  # open_clip, torch and safetensors raise many types for a broken file
            raise ModelError(
                f"CLIP model {model} can't be loaded: {' '.join(str(error).split())[:300]}"
            ) from error
        self._device = pick_device(device)
        self._network.to(self._device).eval()

    def sha256(self) -> str:
        """The digest of the weights."""
        return weights_sha256(self._network)

    def prepare(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """uint8 [H, W, 3] -> the model's input. Thread-safe."""
        pixels: torch.Tensor = self._transform(Image.fromarray(image))
        return pixels

    def images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """uint8 [H, W, 3] each -> unit vectors [N, D]."""
        parts = []
        for start in range(0, len(images), BATCH):
            parts.append(self.prepared([self.prepare(image) for image in images[start : start + BATCH]]))
        return np.concatenate(parts)

    @torch.no_grad()
    def prepared(self, images: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """A batch of N from `prepare` -> unit vectors [N, D]."""
        return _numpy(self._network.encode_image(torch.stack(list(images)).to(self._device), normalize=True))

    @property
    def length(self) -> int:
        """The most tokens of a text that the model reads, with the marks of its begin and end."""
        return int(self._tokenizer.context_length)

    def cut(self, texts: Sequence[str]) -> list[bool]:
        """Whether the model reads only the beginning of each text."""
        read, longer = self._tokenizer(list(texts)), self._tokenizer(list(texts), self.length + 1)
        found: list[bool] = (read != longer[:, : self.length]).any(1).tolist()
        return found

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> unit vectors [N, D]."""
        parts = []
        for start in range(0, len(texts), BATCH):
            tokens = self._tokenizer(list(texts[start : start + BATCH])).to(self._device)
            parts.append(_numpy(self._network.encode_text(tokens, normalize=True)))
        return np.concatenate(parts)


class ClipStage:
    """Captions -> the cosine with their image in `<column>_clip`, -1 to 1; NaN if the image can't be read."""

    name = "CLIP scores"
    batch_size = BATCH
    busy_s = 0.0

    def __init__(self, catalog: Catalog, column: str, clip: ClipModel) -> None:
        self.clip = clip
        self.reads = ("image", column)
        self.done_column = f"{column}_clip"
        self.todo = f"{self.done_column} IS NULL AND {column} IS NOT NULL"
        info = ColumnInfo(clip.sha256(), sources_of(catalog.schema, self.reads), (), clip.name)
        self.writes = (info.field(self.done_column, pa.float32()),)

    def setup(self) -> None:
        """Nothing to load."""

    def prepare(self, batch: pa.RecordBatch) -> Callable[[], pa.RecordBatch]:
        """Decode and resize the images; the returned function runs the model."""
        images, captions = (batch[name].to_pylist() for name in self.reads)
        arrays = map(readable, images)
        prepared = [None if array is None else self.clip.prepare(array) for array in arrays]
        return lambda: pa.RecordBatch.from_arrays(
            [pa.array(self._scores(prepared, captions), from_pandas=False)], names=[self.done_column]
        )

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return self.prepare(batch)()

    def _scores(
        self, prepared: Sequence[torch.Tensor | None], captions: Sequence[str]
    ) -> NDArray[np.float32]:
        scores = np.full(len(captions), np.nan, np.float32)
        good = [place for place, one in enumerate(prepared) if one is not None]
        if good:
            images = self.clip.prepared([one for one in prepared if one is not None])
            scores[good] = np.einsum("nd,nd->n", images, self.clip.texts([captions[place] for place in good]))
        return scores


def _refuse_code(name: str) -> None:
    """Raise ModelError if the tokenizer's configuration would run code from the model's folder."""
    if name.startswith(FOLDER):
        path = Path(name.removeprefix(FOLDER)) / CONFIG
    elif name.startswith(HUB):
        model, _, revision = name.removeprefix(HUB).partition("@")
        found = find(model, CONFIG, revision=revision or None, what="CLIP model")
        if found is None:
            raise ModelError(f"it has no {CONFIG}")
        path = found
    else:
        return
    text = json.loads(path.read_text(encoding="utf-8")).get("model_cfg", {}).get("text_cfg", {})
    if text.get("tokenizer_kwargs", {}).get("trust_remote_code"):
        raise ModelError(f"{CONFIG} asks for trust_remote_code, which would run the model's own code")


def _numpy(vectors: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = vectors.float().cpu().numpy()
    return array
