"""What evaluation reads from a model folder besides its networks, and the VAE's reconstructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line
from commoncanvas.diffusion.sampling import decode_latents
from commoncanvas.models.vae import posterior, to_pixels
from commoncanvas.models.vae_scaling import scaling_of
from commoncanvas.provenance.record import read_provenance
from commoncanvas.table.taken_down_rows import rows_of, taken_down

ROW_COLUMNS = ("image_id", "row_id", "split", "text", "text_column", "catalog")


def diffusion_provenance(model: str) -> dict[str, Any]:
    """The provenance.json of a text-to-image model's folder. Raises ModelError, also for another task."""
    provenance = read_provenance(model)
    if provenance["task"] != "diffusion":
        raise ModelError(
            f"{model} is a model of task {provenance['task']}; evaluate needs one of task diffusion"
        )
    return provenance


def read_rows(model: str) -> pa.Table:
    """rows.parquet: the rows that the model was trained on, and the held-out rows. Raises ModelError."""
    path = Path(model) / "rows.parquet"
    if not path.is_file():
        raise ModelError(f"{model} has no rows.parquet, so its prompts are unknown; train the model again")
    try:
        rows = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ModelError(f"{path} can't be read: {one_line(error)}") from error
    missing = [name for name in ROW_COLUMNS if name not in rows.column_names]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}; train the model again with this version")
    return rows


def trained_catalogs(model: str, provenance: dict[str, Any], moved: Sequence[str]) -> dict[str, Catalog]:
    """The catalogs that a model learned from, by name, at their versions. `moved`: their new places as `NAME=URI`; the
    URI alone is enough if there is one catalog.

    Raises CatalogError, and ModelError for an unknown name.
    """
    sources = provenance["catalogs"]
    places = {name: str(source["uri"]) for name, source in sources.items()}
    for word in moved:
        name, _, uri = word.partition("=")
        if len(sources) == 1 and name not in sources:
            name, uri = next(iter(sources)), word
        if name not in sources or not uri:
            raise ModelError(
                f"{model} learned from several catalogs, and {word} doesn't name one of them; "
                f"write NAME=URI, where NAME is one of {', '.join(sources)}"
            )
        places[name] = uri
    return {
        name: Catalog.open(places[name], version=source.get("tag") or source["version"])
        for name, source in sources.items()
    }


def without_taken_down(rows: pa.Table, catalogs: Mapping[str, Catalog]) -> pa.Table:
    """Put rows that were taken down since into the split `taken down`, so that they are not used as prompts.

    Their texts stay, because the model has seen these words.
    """
    keys = taken_down(catalogs.values())
    removed = {
        (name, row_id)
        for name, catalog in catalogs.items()
        for row_id in rows_of(catalog, keys)["_rowid"].to_pylist()
    }
    if not removed:
        return rows
    places = zip(rows["catalog"].to_pylist(), rows["row_id"].to_pylist(), strict=True)
    splits = [
        "taken down" if place in removed else split
        for place, split in zip(places, rows["split"].to_pylist(), strict=True)
    ]
    return rows.set_column(rows.schema.get_field_index("split"), "split", pa.array(splits))


def described(catalogs: Mapping[str, Catalog]) -> dict[str, dict[str, str | int]]:
    """Where a result's images are from: `uri` and `version` of each catalog, by name."""
    return {name: {"uri": each.uri, "version": each.version} for name, each in catalogs.items()}


@torch.no_grad()
def reconstruct(pipeline: Any, images: NDArray[np.uint8], batch_size: int = 32) -> NDArray[np.uint8]:
    """Encode images [N, H, W, 3] with the VAE, and decode them with the pipeline. A perfect network would reach this
    quality, and none can be better. Raises ModelError.
    """
    vae, made = pipeline.vae, []
    scaling = scaling_of(vae, vae.config.get("_name_or_path", ""), type(pipeline).__name__)
    for start in range(0, len(images), batch_size):
        pixels = to_pixels(torch.from_numpy(images[start : start + batch_size])).to(vae.device, vae.dtype)
        decoded = decode_latents(pipeline, scaling(posterior(vae, pixels)))
        made += [np.asarray(image.convert("RGB")) for image in decoded]
    return np.stack(made)
