"""Evaluate a text-to-image model on prompts seen in training and on held-out prompts. Each figure has baselines.
Shapes: N prompts, H and W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.catalog import Catalog
from commoncanvas.core.console import progress
from commoncanvas.core.errors import ModelError
from commoncanvas.core.files import replace_json
from commoncanvas.diffusion.batches import Painter
from commoncanvas.diffusion.sampling import image_size, load_pipeline
from commoncanvas.evaluation import metrics, sets
from commoncanvas.evaluation.fingerprint import Fingerprint
from commoncanvas.evaluation.folder import (
    described,
    diffusion_provenance,
    reconstruct,
)
from commoncanvas.evaluation.networks import load_network
from commoncanvas.evaluation.networks.load import DEFAULT
from commoncanvas.evaluation.networks.network import FeatureNetwork
from commoncanvas.evaluation.prompts import Prompt, choose_prompts, read_images
from commoncanvas.evaluation.result import Evaluation, Sample, SetFigures
from commoncanvas.images.grid import labelled_grid
from commoncanvas.models.devices import pick_device
from commoncanvas.models.pretrained import model_folder
from commoncanvas.provenance.folder import read_rows, trained_catalogs, without_taken_down
from commoncanvas.provenance.model_card import CARD, EVALUATION, write_card
from commoncanvas.table.columns import ColumnInfo

if TYPE_CHECKING:
    from commoncanvas.captioning import Captioner

SPLITS = {"seen": "train", "heldout": "heldout"}
SHEET_COLUMNS = 8


def evaluate(
    model: str | Path,
    *,
    catalog: str | Sequence[str] | None = None,
    samples: int = 64,
    seed: int = 0,
    guidance_scale: float | None = None,
    steps: int | None = None,
    captioner: str | None = None,
    features: str = DEFAULT,
    out: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
) -> Evaluation:
    """Generate images for up to `samples` seen prompts and as many held-out prompts, and measure them.

    `model` is a model folder. Images that were taken down since are not used. `catalog` overrides the URI in its
    provenance; with several catalogs, write `NAME=URI`. Guidance scale and steps default to the model's own. With
    `captioner`, a captioner's model folder, the images get captions, which are compared with the prompts. `features`
    names the network for distances and retrieval, see `load_network`. Writes evaluation.json, every image and a
    contact sheet of each set into `out` (default: `<model>/evaluation`). Raises ModelError and CatalogError.
    """
    model = model_folder(Path(model).resolve() if Path(model).name in ("", "..") else model)
    provenance = diffusion_provenance(model)
    rows = read_rows(model)
    if samples < 1:
        raise ModelError(f"{model} can't be evaluated on {samples} prompts; give at least 1")
    catalogs = trained_catalogs(model, provenance, [catalog] if isinstance(catalog, str) else catalog or ())
    rows = without_taken_down(rows, catalogs)
    chosen = {name: choose_prompts(rows, split, samples, seed) for name, split in SPLITS.items()}
    if not chosen["seen"]:
        raise ModelError(
            f"{model}/rows.parquet has no training row with a text, so there is no prompt to evaluate on"
        )
    place = pick_device(device)
    pipeline = load_pipeline(model).to(place)
    painter = Painter(pipeline)
    size = image_size(pipeline)
    real = {name: read_images(catalogs, some, size) for name, some in chosen.items() if some}
    defaults = provenance["recipe"]["sample"]
    guidance = float(guidance_scale if guidance_scale is not None else defaults["guidance_scale"])
    step_count = int(steps if steps is not None else defaults["steps"])
    writer = _load_captioner(captioner, device)
    folder = Path(out) if out else Path(model) / EVALUATION.parent
    network = load_network(features, device)
    judge = _Judge(pipeline, network, writer, batch_size)

    figures: dict[str, SetFigures] = {}
    marks: dict[str, dict[str, Fingerprint]] = {}
    shown: dict[str, tuple[Sample, ...]] = {"seen": (), "heldout": ()}
    with progress("evaluate", sum(map(len, chosen.values()))) as bar:
        for name, real_NHWC in real.items():
            some = chosen[name]
            bar.note(f"{name} prompts")
            images: list[Image.Image] = []
            for image in painter.images(
                [prompt.text for prompt in some],
                seeds=[prompt.seed for prompt in some],
                guidance_scale=guidance,
                steps=step_count,
            ):
                images.append(image)
                bar.advance()
            made_NHWC = np.stack([np.asarray(image.convert("RGB")) for image in images])
            figures[name], hits, captions = judge(some, made_NHWC, real_NHWC)
            marks[name] = _fingerprints(
                some,
                real_NHWC,
                network,
                writer,
                sampler=type(pipeline.scheduler).__name__,
                steps=step_count,
                guidance_scale=guidance,
                size=f"{size} x {size}",
            )
            kinds = _kinds(catalogs, name, some)
            shown[name] = _save(folder, name, some, kinds, images, real_NHWC, hits, captions)
        bar.note("")
    evaluation = Evaluation(
        model=model,
        catalogs=described(catalogs),
        feature_extractor=network.name,
        feature_sha256=network.sha256,
        feature_resize=network.resize,
        sampler=type(pipeline.scheduler).__name__,
        seed=seed,
        guidance_scale=guidance,
        steps=step_count,
        captioner=writer.info.model if writer else None,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        out=str(folder),
        fingerprints=marks,
        seen=figures["seen"],
        heldout=figures.get("heldout"),
        seen_samples=shown["seen"],
        heldout_samples=shown["heldout"],
    )
    replace_json(folder / "evaluation.json", evaluation.to_dict())
    if folder == Path(model) / EVALUATION.parent and (Path(model) / CARD).exists():
        write_card(Path(model))
    return evaluation


@dataclass(frozen=True)
class _Judge:
    """Measures one set of generated images against the real ones."""

    pipeline: Any
    network: FeatureNetwork
    captioner: Captioner | None
    batch_size: int

    def __call__(
        self, prompts: Sequence[Prompt], made_NHWC: NDArray[np.uint8], real_NHWC: NDArray[np.uint8]
    ) -> tuple[SetFigures, NDArray[np.float64], list[str] | None]:
        """The set's figures, retrieval's hits [N], and the captions of the generated images."""
        noise_NHWC = np.random.default_rng(prompts[0].seed).integers(0, 256, real_NHWC.shape, dtype=np.uint8)
        real = self.network(real_NHWC)
        made = {
            "": self.network(made_NHWC),
            "_reconstruction": self.network(reconstruct(self.pipeline, real_NHWC, self.batch_size)),
            "_noise": self.network(noise_NHWC),
        }
        distances: dict[str, float | None] = {}
        for suffix, features in made.items():
            enough = len(prompts) >= metrics.LEAST_SAMPLES
            distances[f"fd{suffix}"] = metrics.frechet_distance(features, real) if enough else None
            distances[f"kd{suffix}"] = metrics.kernel_distance(features, real) if enough else None
        matches = metrics.retrieval_matches(made[""], real)
        hits = matches.diagonal()
        low, high = metrics.wilson_interval(float(hits.mean()), len(hits))
        captions = _captions(self.captioner, list(made_NHWC)) if self.captioner else None
        matched, shuffled, p = _round_trip(prompts, captions) if captions else (None, None, None)
        figures = SetFigures(
            prompts=len(prompts),
            retrieval=float(hits.mean()),
            retrieval_low=low,
            retrieval_high=high,
            retrieval_chance=1 / len(prompts),
            retrieval_p=metrics.permutation_p(matches),
            retrieval_reconstruction=metrics.retrieval_accuracy(made["_reconstruction"], real),
            roundtrip_cosine=matched,
            roundtrip_cosine_shuffled=shuffled,
            roundtrip_p=p,
            **distances,
        )
        return figures, hits, captions


def _fingerprints(
    prompts: Sequence[Prompt],
    real_NHWC: NDArray[np.uint8],
    network: FeatureNetwork,
    captioner: Captioner | None,
    **drawing: Any,
) -> dict[str, Fingerprint]:
    """How each figure of a set is measured, by its name."""
    real = sets.digest(sets.pixels_sha256(real_NHWC))
    distances = sets.of_distances(prompts, real, network, **drawing)
    found = dict.fromkeys(("retrieval", "fd", "kd"), distances)
    if captioner is not None:
        from commoncanvas.evaluation.scorers.captioner import captioner_info

        found["roundtrip_cosine"] = sets.of_scores(prompts, captioner_info(captioner), **drawing)
    return found


def _round_trip(prompts: Sequence[Prompt], captions: Sequence[str]) -> tuple[float, float | None, float]:
    """Mean cosine of captions with their own prompts and with other prompts, and how often chance does as well."""
    from commoncanvas.models.sentences import embed
    from commoncanvas.models.similarity import cosine_similarity, matched_and_shuffled

    wanted, found = embed([prompt.text for prompt in prompts]), embed(list(captions))
    matched, shuffled = matched_and_shuffled(wanted, found)
    p = metrics.permutation_p(cosine_similarity(wanted, found))
    return matched, None if math.isnan(shuffled) else shuffled, p


def _kinds(catalogs: Mapping[str, Catalog], name: str, prompts: Sequence[Prompt]) -> list[str]:
    if name == "heldout":
        return ["heldout"] * len(prompts)
    written = {
        (catalog, field.name)
        for catalog, table in catalogs.items()
        for field in table.schema
        if ColumnInfo.of(field)
    }
    return ["synthetic" if (prompt.catalog, prompt.text_column) in written else "human" for prompt in prompts]


def _save(
    folder: Path,
    name: str,
    prompts: Sequence[Prompt],
    kinds: Sequence[str],
    images: Sequence[Image.Image],
    real_NHWC: NDArray[np.uint8],
    hits: NDArray[np.float64],
    captions: Sequence[str] | None,
) -> tuple[Sample, ...]:
    """Write the images of one set into `<folder>/<name>/`, and their contact sheet next to it; returns the samples."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    samples = []
    for index, prompt in enumerate(prompts):
        file, real_file = f"{name}/{index:03d}.png", f"{name}/{index:03d}-real.png"
        images[index].save(folder / file)
        Image.fromarray(real_NHWC[index]).save(folder / real_file)
        caption = captions[index] if captions else None
        retrieved = bool(hits[index] == 1)
        samples.append(
            Sample(
                prompt.image_id, prompt.text, kinds[index], prompt.seed, file, real_file, retrieved, caption
            )
        )
    columns = min(SHEET_COLUMNS, len(images))
    labelled_grid(images, [prompt.text for prompt in prompts], columns).save(
        folder / f"{name}.jpg", quality=90
    )
    return tuple(samples)


def _load_captioner(model: str | None, device: str) -> Captioner | None:
    if model is None:
        return None
    from commoncanvas.captioning import CaptionerConfig, load_captioner

    return load_captioner(CaptionerConfig(model, device=device))


def _captions(captioner: Captioner, images: list[NDArray[np.uint8]]) -> list[str]:
    from commoncanvas.captioning import captions_of

    return captions_of(captioner, images)
