"""The encode stages: run frozen networks on rows before training, and store the outputs in columns.

A sample's states don't depend on its batch: the network always gets batches of one fixed shape, filled up if needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from commoncanvas.config import EncodeConfig
from commoncanvas.core.errors import ImageError
from commoncanvas.core.files import from_anywhere
from commoncanvas.encoding.columns import (
    crop_column,
    feature_column,
    fingerprint,
    fingerprint_column,
    latent_column,
    latent_info,
    pooled_column,
    sizes_of,
    stale,
    text_column,
    text_info,
)
from commoncanvas.encoding.crops import Crop, Size, crop, nearest
from commoncanvas.encoding.states import state_type, to_column
from commoncanvas.images.image import decode, square
from commoncanvas.models import efficientnet
from commoncanvas.models.devices import DTYPES, in_batches, pick_device
from commoncanvas.models.image_features import fill, image_features
from commoncanvas.models.text_encoder import PLAIN, TextEncoder
from commoncanvas.models.threads import threads
from commoncanvas.models.vae import VAE, load_vae, posterior, to_pixels, weights_sha256
from commoncanvas.table.columns import ColumnInfo

DECODERS = 2
AHEAD = 8
"""With buckets, this many batches of rows are read together, so that images of one size can share a batch."""


def decoded(data: bytes) -> NDArray[np.uint8] | None:
    """A stored image [H, W, 3]; None if it can't be decoded."""
    try:
        return decode(data)
    except ImageError:
        return None


class FrozenStage(ABC):
    """Base of the encode stages: a network that each worker loads once and runs on batches of one fixed shape.

    A pickled stage has no network; `setup` loads it again, on a device of the new process.
    """

    name: str
    reads: tuple[str, ...]
    info: ColumnInfo
    network: Any
    busy_s = 0.0
    leaves_null = True

    def __init__(self, column: str, config: EncodeConfig, device: str, network: Any = None) -> None:
        self.done_column = column
        self.config = config
        self.device = device
        self.at_once = self.batch_size = config.batch_size
        self.network = network or self.load()

    @property
    def todo(self) -> str:
        return f"{self.done_column} IS NULL"

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        return (self.info.field(self.done_column, state_type(self.info.shape, self.config.storage)),)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name != "network"}
        # A worker sees only its own GPU, so the device's number doesn't matter.
        return kept | {"device": self.device.partition(":")[0]}

    def setup(self) -> None:
        """Load the network. Raises ModelError if its weights are not those that `info` names."""
        if "network" not in self.__dict__:
            self.network = self.load()
            self.info.check(self.sha256())
        self.place(pick_device(self.device), DTYPES[self.config.precision])

    def prepare(self, batch: pa.RecordBatch) -> Callable[[], pa.RecordBatch]:
        """Make the network's inputs. The returned function runs the network."""
        inputs = self.inputs(batch)
        return lambda: self.encode(inputs)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return self.prepare(batch)()

    def column(self, states: Tensor) -> pa.Array:
        return to_column(states, self.config.storage, f"{self.name}: the model {self.info.model}")

    def batch(self, columns: Sequence[pa.Array], readable: Sequence[bool]) -> pa.RecordBatch:
        """The columns `writes`. A row is null if its image can't be decoded."""
        if not all(readable):
            columns = [pc.if_else(pa.array(readable), each, pa.scalar(None, each.type)) for each in columns]
        return pa.RecordBatch.from_arrays(columns, names=[field.name for field in self.writes])

    @torch.no_grad()
    def filled(self, run: Callable[[Any], Tensor], inputs: Any, pad: Callable[[Any, int], Any]) -> Tensor:
        """Call `run` on `inputs` [N, ...], in batches that `pad` fills up."""
        threads().follow()
        made, self.at_once = in_batches(
            lambda chosen, size: run(pad(chosen, size))[: len(chosen)].cpu(), inputs, self.at_once
        )
        return torch.cat(made)

    @abstractmethod
    def load(self) -> Any:
        """The network, on the CPU, in fp32."""

    @abstractmethod
    def sha256(self) -> str:
        """The SHA-256 of the network's weights."""

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        self.network.to(device)
        if dtype != torch.float32:
            torch.nn.Module.to(self.network, dtype)

    @abstractmethod
    def inputs(self, batch: pa.RecordBatch) -> Any:
        """The network's inputs. This runs on another thread."""

    @abstractmethod
    def encode(self, inputs: Any) -> pa.RecordBatch:
        """Run the network; returns the columns `writes`."""


class LatentStage(FrozenStage):
    """Images -> `latent_<vae>_<size>`, before scaling, and `..._crop`: which part of the image it is (see `Crop`).

    That is the middle square, `size` pixels a side. With `buckets` it is the middle in the nearest aspect ratio, with
    about as many pixels; its latents [C, H, W] are padded with zeros to rows [C * cells], as long as the largest
    bucket's. `flipped` adds a leading axis: the image and its mirror image. `posterior` mean_std adds an axis before
    [C, H, W]: mean and standard deviation.
    """

    reads = ("image",)

    def __init__(
        self, model: str, size: int, config: EncodeConfig | None = None, device: str = "auto"
    ) -> None:
        self.name = "latents"
        self.size = size
        self.model = from_anywhere(model)
        super().__init__(latent_column(model, size), config or EncodeConfig(), device)
        self.info = latent_info(self.network, model, size, self.config)
        self.sizes = sizes_of(self.network, size, self.config)
        self.batch_size = self.at_once * (AHEAD if len(self.sizes) > 1 else 1)

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        crops = self.info.field(crop_column(self.done_column), pa.list_(pa.int32(), len(Crop._fields)))
        return (*super().writes, crops)

    def load(self) -> VAE:
        return load_vae(self.model)

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        super().place(device, dtype)
        # A sixth faster in bf16, up to four tenths in fp32 (benchmarks/encoding.py's VAE, two cores).
        self.network.to(memory_format=torch.channels_last)

    def sha256(self) -> str:
        return weights_sha256(self.network)

    def inputs(self, batch: pa.RecordBatch) -> list[tuple[Tensor, Crop] | None]:
        def cropped(data: bytes) -> tuple[Tensor, Crop] | None:
            array = decoded(data)
            if array is None:
                return None
            image, done = crop(array, nearest(array.shape[0], array.shape[1], self.sizes))
            return torch.from_numpy(image), done

        with ThreadPoolExecutor(DECODERS, "decode") as pool:
            return list(pool.map(cropped, batch["image"].to_pylist()))

    def encode(self, inputs: list[tuple[Tensor, Crop] | None]) -> pa.RecordBatch:
        groups: dict[Size, list[tuple[int, Tensor]]] = defaultdict(list)
        crops = np.zeros((len(inputs), len(Crop._fields)), np.int32)
        for place, found in enumerate(inputs):
            if found is not None:
                image, done = found
                groups[Size(done.height, done.width)].append((place, image))
                crops[place] = done
        rows = torch.zeros(len(inputs), *self.info.shape)
        for group in groups.values():
            places = [place for place, _ in group]
            images = torch.stack([image for _, image in group])
            made = self.filled(self._posterior, images, fill)
            if len(self.sizes) > 1:
                made = made.flatten(-3)
                rows[places, ..., : made.shape[-1]] = made.float()
            else:
                rows[places] = made.float()
        lists = pa.FixedSizeListArray.from_arrays(pa.array(crops.reshape(-1)), len(Crop._fields))
        return self.batch([self.column(rows), lists], [found is not None for found in inputs])

    def _posterior(self, images_BHWC: Tensor) -> Tensor:
        """uint8 images of one size -> [B, (2 if flipped,) (2 if mean_std,) C, H, W]."""
        pixels = to_pixels(images_BHWC).to(
            self.network.device, self.network.dtype, memory_format=torch.channels_last
        )
        deviation = self.config.posterior == "mean_std"
        made = posterior(self.network, pixels, deviation)
        if not self.config.flipped:
            return made
        return torch.stack([made, posterior(self.network, pixels.flip(-1), deviation)], dim=1)


class TextStage(FrozenStage):
    """The first text column that is set -> `text_<encoder>_<length>`: the encoder's token states; with SDXL's pair also
    `pooled_...`. `..._of` is the fingerprint of the text. It shows when a text has changed.
    """

    def __init__(
        self,
        model: str,
        length: int,
        sources: Sequence[str],
        config: EncodeConfig | None = None,
        device: str = "auto",
        *,
        column: str | None = None,
        present: Sequence[str] | None = None,
        skip: int = 0,
        prompts: str = PLAIN,
        network: TextEncoder | None = None,
    ) -> None:
        """`sources`: text columns, the first that is set is used; `present`: the ones that the catalog has (default:
        all). `skip`, `prompts`: see TextEncoder.
        """
        self.name = "text states"
        self.reads = tuple(sources if present is None else present)
        self.model = from_anywhere(model)
        self.length = length
        self.skip = skip
        self.prompts = prompts
        super().__init__(column or text_column(model, length), config or EncodeConfig(), device, network)
        self.info = text_info(self.network, model, sources, self.done_column, self.config)

    @property
    def todo(self) -> str:
        return f"{super().todo} OR {stale(self.done_column, self.reads)}"

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        fields = [*super().writes, self.info.field(fingerprint_column(self.done_column), pa.string())]
        if self.pooled:
            kind = state_type((self.pooled,), self.config.storage)
            fields.append(self.info.field(pooled_column(self.done_column), kind))
        return tuple(fields)

    @property
    def pooled(self) -> int:
        """Width of the pooled state, 0 if there is none."""
        width: int = self.info.settings.get("pooled", 0)
        return width

    def load(self) -> TextEncoder:
        return TextEncoder(self.model, self.length, self.skip, self.prompts)

    def sha256(self) -> str:
        return weights_sha256(self.network.modules)

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        self.network.place(device, dtype)

    def inputs(self, batch: pa.RecordBatch) -> list[str]:
        columns = [batch[name].to_pylist() for name in self.reads]
        return [next(text for text in row if text is not None) for row in zip(*columns, strict=True)]

    def encode(self, inputs: list[str]) -> pa.RecordBatch:
        def run(texts: list[str]) -> Tensor:
            states, pooled = self.network.encode(texts)
            return torch.cat([states.flatten(1), *([] if pooled is None else [pooled])], dim=1)

        made = self.filled(run, inputs, lambda texts, size: texts + [""] * (size - len(texts)))
        width = made.shape[1] - self.pooled
        fingerprints = pa.array([fingerprint(text) for text in inputs], pa.string())
        columns = [self.column(made[:, :width]), fingerprints]
        if self.pooled:
            columns.append(self.column(made[:, width:]))
        return pa.RecordBatch.from_arrays(columns, names=[field.name for field in self.writes])


class FeatureStage(FrozenStage):
    """Images -> `efficientnet_lite0_<grid>`: EfficientNet-Lite0's last feature map, averaged to grid x grid cells."""

    reads = ("image",)

    def __init__(self, grid: int, device: str = "auto", batch_size: int = EncodeConfig().batch_size) -> None:
        self.name = "image features"
        self.grid = grid
        super().__init__(feature_column(grid), EncodeConfig(batch_size=batch_size), device)
        shape = (efficientnet.FEATURES, grid, grid)
        self.info = ColumnInfo(self.sha256(), (("image", None),), shape, "efficientnet-lite0")

    def load(self) -> efficientnet.EfficientNetLite0:
        return efficientnet.load()

    def sha256(self) -> str:
        return weights_sha256(efficientnet.weights_path())

    def inputs(self, batch: pa.RecordBatch) -> list[Any]:
        arrays = map(decoded, batch["image"].to_pylist())
        return [None if array is None else square(array, efficientnet.INPUT_SIZE) for array in arrays]

    def encode(self, inputs: list[Any]) -> pa.RecordBatch:
        blank = np.zeros((efficientnet.INPUT_SIZE, efficientnet.INPUT_SIZE, 3), np.uint8)
        made = self.filled(
            lambda images: image_features(self.network, images, self.grid, len(images)),
            [blank if image is None else image for image in inputs],
            lambda images, size: [*images, *[blank] * (size - len(images))],
        )
        return self.batch([self.column(made)], [image is not None for image in inputs])
