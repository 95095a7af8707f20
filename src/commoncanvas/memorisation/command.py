"""The `memorisation` command: draw from a model's training prompts, and see how often its images come back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from commoncanvas.core.console import progress
from commoncanvas.core.errors import ModelError
from commoncanvas.core.files import replace_json
from commoncanvas.diffusion.batches import Painter
from commoncanvas.diffusion.sampling import load_pipeline
from commoncanvas.evaluation.folder import described, diffusion_provenance
from commoncanvas.evaluation.networks.load import load_network
from commoncanvas.evaluation.prompts import Prompt
from commoncanvas.memorisation.calibrate import COPIES, STRANGERS, TWINS, calibrated
from commoncanvas.memorisation.calibration import Calibration, Share
from commoncanvas.memorisation.gap import prediction_gaps
from commoncanvas.memorisation.learned import Learned, Near
from commoncanvas.memorisation.result import Memorisation, Pair
from commoncanvas.memorisation.risk import Risk, most_at_risk, risks
from commoncanvas.memorisation.view import View
from commoncanvas.models.devices import pick_device
from commoncanvas.provenance.digests import digests
from commoncanvas.provenance.model_card import CARD, MEMORISATION, write_card

FEATURES = "efficientnet-lite0"
IMAGES = "images"


def measure_memorisation(
    model: str | Path,
    *,
    catalog: str | Sequence[str] | None = None,
    prompts: int = 64,
    seed: int = 0,
    guidance_scale: float | None = None,
    steps: int | None = None,
    features: str = FEATURES,
    strangers: int = STRANGERS,
    out: str | Path | None = None,
    device: str = "auto",
) -> Memorisation:
    """Draw up to `prompts` random prompts of the training and as many of those most at risk, and compare each image
    with all training images.

    `catalog`: as for `evaluate`. `features`: the network that images are compared with. `strangers`: most images that
    the model did not learn from, which the threshold is calibrated on. Features of stored images become a column of
    the catalog. Writes memorisation.json and the images into `out` (default: `<model>/memorisation`), and the figures
    onto the model's card. Raises CatalogError, ModelError, RecipeError, MissingExtraError.
    """
    model = str(model)
    if prompts < 1:
        raise ModelError(f"{model} can't be looked at with {prompts} prompts; give at least 1")
    provenance = diffusion_provenance(model)
    learned = Learned(model, provenance, [catalog] if isinstance(catalog, str) else catalog or ())
    pipeline = load_pipeline(model).to(pick_device(device))
    view = View(pipeline, load_network(features, device))
    folder = Path(out) if out else Path(model) / MEMORISATION.parent
    whitening, calibration = calibrated(folder, learned, view, strangers=strangers, copies=COPIES, seed=seed)
    defaults = provenance["recipe"]["sample"]
    settings: dict[str, Any] = {
        "guidance_scale": float(defaults["guidance_scale"] if guidance_scale is None else guidance_scale),
        "steps": int(defaults["steps"] if steps is None else steps),
    }
    painter = Painter(pipeline)

    def gaps(some: Sequence[Prompt]) -> NDArray[np.float64]:
        with progress("prompts", len(some), "prompts") as bar:
            return prediction_gaps(
                painter,
                [each.text for each in some],
                seeds=[each.seed for each in some],
                steps=settings["steps"],
                on_done=bar.advance,
            )

    random, at_risk = risks(learned, prompts, seed, gaps)
    chosen = most_at_risk(list({each.prompt.image_id: each for each in [*random, *at_risk]}.values()))
    if not chosen:
        raise ModelError(
            f"{model}/rows.parquet has no training row with a text, so there is no prompt to draw"
        )
    images = _draw(painter, chosen, settings)
    found = view.features([np.asarray(image.convert("RGB")) for image in images])
    nearest = learned.nearest(view, found, whitening, TWINS)
    copies = {
        each.prompt.image_id: near[0].similarity > calibration.threshold
        for each, near in zip(chosen, nearest, strict=True)
    }
    result = Memorisation(
        model=model,
        catalogs=described(learned.catalogs),
        fingerprint=_fingerprint(model, view, chosen, seed, strangers, type(pipeline.scheduler).__name__)
        | settings,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        out=str(folder),
        calibration=calibration,
        random=_share(random, copies),
        at_risk=_share(at_risk, copies),
        given_back=len({near[0].row for near in nearest if near[0].similarity > calibration.threshold}),
        trained_on=sum(map(len, learned.ids.values())) + learned.gone,
        taken_down=learned.gone,
        pairs=_pairs(folder, learned, calibration, chosen, at_risk, images, nearest),
    )
    replace_json(folder / MEMORISATION.name, result.to_dict())
    if folder == Path(model) / MEMORISATION.parent and (Path(model) / CARD).exists():
        write_card(Path(model))
    return result


def _draw(painter: Painter, chosen: Sequence[Risk], settings: dict[str, Any]) -> list[Image]:
    images = []
    with progress("draw", len(chosen)) as bar:
        for image in painter.images(
            [each.prompt.text for each in chosen], seeds=[each.prompt.seed for each in chosen], **settings
        ):
            images.append(image)
            bar.advance()
    return images


def _share(group: Sequence[Risk], copies: dict[str, bool]) -> Share:
    return Share(sum(copies[each.prompt.image_id] for each in group), len(group))


def _pairs(
    folder: Path,
    learned: Learned,
    calibration: Calibration,
    chosen: Sequence[Risk],
    at_risk: Sequence[Risk],
    images: Sequence[Image],
    nearest: Sequence[Sequence[Near]],
) -> tuple[Pair, ...]:
    """Write the images, and return the pairs, the most similar first."""
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    credits = learned.credits([near[0].row for near in nearest])
    risky = {each.prompt.image_id for each in at_risk}
    pairs = []
    for number, (each, image, all_near, credit) in enumerate(
        zip(chosen, images, nearest, credits, strict=True)
    ):
        near, over = all_near[0], sum(one.similarity > calibration.threshold for one in all_near)
        file = f"{IMAGES}/{number:03d}.png"
        image.save(folder / file)
        pairs.append(
            Pair(
                prompt=each.prompt.text,
                seed=each.prompt.seed,
                file=file,
                image_id=credit.image_id,
                catalog=near.row.catalog,
                similarity=round(near.similarity, 4),
                percentile=round(calibration.percentile(near.similarity), 2),
                copies_of=over,
                own=near.row == each.row,
                captions=each.captions,
                pictures=each.pictures,
                gap=each.gap,
                credit=credit.text(),
                at_risk=each.prompt.image_id in risky,
            )
        )
    return tuple(sorted(pairs, key=lambda pair: -pair.similarity))


def _fingerprint(
    model: str, view: View, chosen: Sequence[Risk], seed: int, strangers: int, sampler: str
) -> dict[str, Any]:
    drawn = [[each.prompt.text, each.prompt.seed] for each in chosen]
    return {
        "model_sha256": _sha256(digests(Path(model))),
        "prompts": len(chosen),
        "prompts_sha256": _sha256(drawn),
        "seed": seed,
        "sampler": sampler,
        "size": view.size,
        "features": view.network.name,
        "features_sha256": view.network.sha256,
        "resize": view.network.resize,
        "autoencoder_sha256": view.vae_sha256,
        "strangers": strangers,
    }


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
