"""README.md of a model folder: what the model is, what it learned from, its licence, its figures, how to use it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from commoncanvas.core.files import replace_text
from commoncanvas.core.text import counted, markdown_cell, one_line
from commoncanvas.licenses import parse
from commoncanvas.models.hub import HUB
from commoncanvas.provenance.hub import UNPUBLISHED, Published, metadata
from commoncanvas.provenance.markdown import last_part, templates
from commoncanvas.provenance.passed_on import authors
from commoncanvas.provenance.record_file import RECORD
from commoncanvas.provenance.verdict import ROWS_EXPLAINED, metric_rows, verdicts

CARD = "README.md"
EVALUATION = Path("evaluation") / "evaluation.json"
"""Where `evaluate` writes its figures by default."""
MEMORISATION = Path("memorisation") / "memorisation.json"
"""Where `memorisation` writes its figures by default."""
WHAT = {
    "diffusion": "A text-to-image model",
    "autoencoder": "An autoencoder of images",
    "captioner": "A captioner of images",
}
FIGURES = {"psnr_db": "PSNR of the reconstructions, dB", "vocabulary": "words in its vocabulary"}


def write_card(folder: Path, name: str | None = None, published: Published = UNPUBLISHED) -> None:
    """Write README.md of the model in `folder`. `name`: the model's name in it (default: the folder's).

    The figures are those that `evaluate` has written into the folder, or else those of the training.
    """
    folder = folder.resolve()
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    evaluation = read_evaluation(folder)
    found = {**evaluation.get("figures", {}), "feature_extractor": evaluation.get("feature_extractor")}
    model = published.repo or name or folder.name
    language, use = _use(record, model, "" if published.repo else "path/to/")
    header = metadata(record, evaluation, published)
    made = templates("commoncanvas.provenance")
    made.filters["authors"] = authors
    text = made.get_template("model.md.j2").render(
        r=record,
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
        what=WHAT[record["task"]],
        language=language,
        use=use,
        sources=list(record["catalogs"].values()),
        rows_explained=ROWS_EXPLAINED,
        rows=[row for row in metric_rows(found) if set(row["values"]) - {None, "—"}],
        verdicts=verdicts(found),
        memorisation=read_memorisation(folder),
        figures={FIGURES[key]: value for key, value in record["figures"].items() if key in FIGURES},
        evaluate=shlex.join(["commoncanvas", "evaluate", model]),
        measure=shlex.join(["commoncanvas", "memorisation", model]),
        captioners=[
            markdown_cell(last_part(part["model"]))
            for part in record["built_on"]
            if part["role"] == "captioner" and part["origin"]
        ],
        limits=list(_limits(record)),
        published=published,
        has=lambda file: (folder / file).exists(),
        of_parts=_credited(folder) - record["rows"]["train"],
        bibtex=bibtex(record, published),
    )
    replace_text(folder / CARD, text)


def _credited(folder: Path) -> int:
    """Works in credits.parquet; 0 if there is none."""
    path = folder / "credits.parquet"
    return int(pq.read_metadata(path).num_rows) if path.is_file() else 0


def read_evaluation(folder: Path) -> dict[str, Any]:
    """What `evaluate` has written into a model folder; {} if it hasn't."""
    path = folder / EVALUATION
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def read_memorisation(folder: Path) -> dict[str, Any]:
    """What `memorisation` has written into a model folder; {} if it hasn't."""
    path = folder / MEMORISATION
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def bibtex(record: dict[str, Any], published: Published) -> str:
    """A reference to the model."""
    fields = {
        "title": record["name"],
        "author": f"{{{published.owner}}}" if published.owner else None,
        "year": record["created"][:4],
        "url": f"{HUB}/{published.repo}" if published.repo else None,
        "note": f"Trained with CommonCanvas on {counted(record['rows']['train'], 'openly licensed images')}",
    }
    key = re.sub(r"[^a-z0-9]+", "-", record["name"].casefold()).strip("-") or "model"
    lines = [f"  {name} = {{{_tex(value)}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}"])


def _tex(text: str) -> str:
    return re.sub(r"([#$%&_])", r"\\\1", one_line(text))


def _limits(record: dict[str, Any]) -> Iterator[str]:
    """What the model can't do, or may not be used for, as far as its record says."""
    rows, recipe = record["rows"]["train"], record["recipe"]
    if record["task"] == "diffusion":
        yield (
            f"It draws images of about {recipe['size']} × {recipe['size']} pixels, and knows only what "
            f"{counted(rows, 'images')} and their texts show."
        )
        yield "Like its images, it may show some people, places and things more often than others, or wrongly."
        yield "What it draws is no photo and no evidence. Say that a machine drew it when you show it."
    else:
        yield f"It knows only what {counted(rows, 'images')} show."
    license = parse(record["result_license"]) if record["result_license"] else None
    if license is None:
        yield "No single licence covers all of its images, so it should not be shared before that is solved."
    elif not license.commercial:
        yield "Images under NonCommercial licences are among those it learned from: it is not for commercial use."


def _use(record: dict[str, Any], model: str, parent: str) -> tuple[str, str]:
    """A language, and code in it that uses the model, which is in the folder `parent` or on the hub."""
    place = json.dumps(f"{parent}{model}")
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
        f"commoncanvas caption --catalog my.lance --captioner xs --model {shlex.quote(f'{parent}{model}')}",
    )
