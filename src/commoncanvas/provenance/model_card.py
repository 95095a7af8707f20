"""README.md of a model folder: what the model is, what it learned from, its licence, its figures, how to use it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import yaml

from commoncanvas.catalog.export.data_card import HUB_LICENSES
from commoncanvas.core.files import replace_text
from commoncanvas.provenance.markdown import templates
from commoncanvas.provenance.record import RECORD
from commoncanvas.provenance.verdict import metric_rows, verdicts

CARD = "README.md"
EVALUATION = Path("evaluation") / "evaluation.json"
"""Where `evaluate` writes its figures by default."""
WHAT = {
    "diffusion": "A text-to-image model",
    "autoencoder": "An autoencoder of images",
    "captioner": "A captioner of images",
}
FIGURES = {"psnr_db": "PSNR of the reconstructions, dB", "vocabulary": "words in its vocabulary"}


def write_card(folder: Path, name: str | None = None) -> None:
    """Write README.md of the model in `folder`. `name`: the model's name in it (default: the folder's).

    The figures are those that `evaluate` has written into the folder, or else those of the training.
    """
    folder = folder.resolve()
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    evaluated = folder / EVALUATION
    found = json.loads(evaluated.read_text(encoding="utf-8"))["figures"] if evaluated.is_file() else {}
    model = name or folder.name
    language, use = _use(record, model)
    text = (
        templates("commoncanvas.provenance")
        .get_template("model.md.j2")
        .render(
            r=record,
            header=yaml.safe_dump(header(record), sort_keys=False).rstrip(),
            what=WHAT[record["task"]],
            language=language,
            use=use,
            sources=list(record["catalogs"].values()),
            rows=[row for row in metric_rows(found) if set(row["values"]) - {None, "—"}],
            verdicts=verdicts(found),
            figures={FIGURES[key]: value for key, value in record["figures"].items() if key in FIGURES},
            evaluate=shlex.join(["commoncanvas", "evaluate", model]),
        )
    )
    replace_text(folder / CARD, text)


def header(record: dict[str, Any]) -> dict[str, Any]:
    """Metadata that the hub reads (https://huggingface.co/docs/hub/model-cards)."""
    license = (record["result_license"] or "other").lower()
    found: dict[str, Any] = {"license": license if license in HUB_LICENSES else "other"}
    if record["task"] != "captioner":
        found["library_name"] = "diffusers"
    if record["task"] == "diffusion":
        found["pipeline_tag"] = "text-to-image"
    return found | {"tags": ["commoncanvas", "creative-commons"]}


def _use(record: dict[str, Any], model: str) -> tuple[str, str]:
    """A language, and code in it that uses the model."""
    place = json.dumps(f"path/to/{model}")
    match record["task"]:
        case "diffusion":
            sample = record["recipe"]["sample"]
            prompt = json.dumps(next(iter(sample["prompts"]), "a deer"), ensure_ascii=False)
            settings = f"guidance_scale={sample['guidance_scale']}, num_inference_steps={sample['steps']}"
            if record["recipe"].get("transformer"):
                # The defaults of PixArt's pipeline are for its own sizes, lengths and captions.
                length = record["recipe"]["text_length"]
                settings += (
                    f", max_sequence_length={length}, use_resolution_binning=False, clean_caption=False"
                )
            return "python", (
                "from diffusers import DiffusionPipeline\n"
                f"pipeline = DiffusionPipeline.from_pretrained({place})\n"
                f'pipeline({prompt}, {settings}).images[0].save("image.png")'
            )
        case "autoencoder":
            return "python", (
                "from diffusers import AutoencoderKL\n"
                f"vae = AutoencoderKL.from_pretrained({place})\n"
                "latents = vae.encode(images).latent_dist.mode()  # images: [N, 3, height, width], from -1 to 1"
            )
    return (
        "sh",
        f"commoncanvas caption --catalog my.lance --captioner xs --model {shlex.quote(f'path/to/{model}')}",
    )
