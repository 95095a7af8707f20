"""A model that is loaded to draw: its pipeline, its own settings, and what its images say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import RecipeError
from commoncanvas.core.version import __version__
from commoncanvas.diffusion.batches import Painter
from commoncanvas.diffusion.sampling import denoiser_of, image_size, load_pipeline
from commoncanvas.drawing.requests import Request
from commoncanvas.models.devices import pick_device
from commoncanvas.models.pretrained import model_folder
from commoncanvas.models.vae import weights_sha256
from commoncanvas.provenance.digests import WEIGHTS, file_sha256
from commoncanvas.provenance.record_file import read_provenance

GUIDANCE_SCALE = 5.0
STEPS = 50


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, on its device.

    `about`: the name of the model, the SHA-256 of its weights and our version. `record`: its provenance.json, None if
    it has none.
    """

    painter: Painter
    about: Mapping[str, str]
    record: Mapping[str, Any] | None

    @property
    def pipeline(self) -> Any:
        return self.painter.pipeline

    def filled(self, request: Request) -> Request:
        """The request with all settings: what it leaves open is the recipe's, else a default. Raises RecipeError."""
        return completed(request, self.pipeline, self.record["recipe"]["sample"] if self.record else {})

    def unread(self, prompt: str) -> str:
        """A note with the part of the prompt that the tokenizer cuts off; empty if it reads all."""
        tokenizer = self.pipeline.tokenizer
        tokens = tokenizer(prompt, verbose=False).input_ids
        most = tokenizer.model_max_length
        if len(tokens) <= most:
            return ""
        # The last token that is kept is the end token.
        rest = tokenizer.decode(tokens[most - 1 :], skip_special_tokens=True).strip()
        return f"the prompt has {len(tokens)} tokens, and the model reads {most}; it does not read: {rest}"


def load_model(model: str | Path, device: str = "auto") -> LoadedModel:
    """A model folder, a hub id, or `xs`, on a device, by default the GPU if there is one. Raises ModelError."""
    folder = model_folder(model)
    pipeline = load_pipeline(folder).to(pick_device(device))
    recorded = (Path(folder) / "provenance.json").exists()
    record = read_provenance(folder, ("name", "recipe", "catalogs")) if recorded else None
    about = {
        "model": record["name"] if record else Path(folder).name,
        "model_sha256": digest_of(Path(folder), pipeline),
        "software": f"commoncanvas {__version__}",
    }
    return LoadedModel(Painter(pipeline), about, record)


def completed(request: Request, pipeline: Any, sample: Mapping[str, Any]) -> Request:
    """The request with all settings; `sample`: the recipe's. Raises RecipeError."""
    options, size = request.options, image_size(pipeline)
    own = {
        "guidance_scale": sample.get("guidance_scale", GUIDANCE_SCALE),
        "steps": sample.get("steps", STEPS),
        "scheduler": type(pipeline.scheduler).__name__,
        "height": size,
        "width": size,
    }
    filled = replace(
        options, **{name: value for name, value in own.items() if getattr(options, name) is None}
    )
    if filled.negative_prompt and filled.guidance_scale == 1:
        raise RecipeError("a negative prompt needs a guidance scale above 1, because it steers the guidance")
    return request._replace(options=filled)


def info_of(request: Request, about: Mapping[str, str]) -> dict[str, Any]:
    """What an image's file says of itself: prompt, settings and model."""
    info = {"prompt": request.prompt, **asdict(request.options), **about}
    del info["count"]
    return info


def digest_of(model: Path, pipeline: Any) -> str:
    """The SHA-256 of the denoiser's file of weights, as provenance.json and SHA256SUMS state it. Without a single file:
    of its tensors.
    """
    part = "transformer" if getattr(pipeline, "transformer", None) else "unet"
    files = list((model / part).glob(f"*{WEIGHTS}"))
    return file_sha256(files[0]) if len(files) == 1 else weights_sha256(denoiser_of(pipeline))
