"""technical-report.md: data, captions, recipe, training, evaluation, studies and limits of a model, with plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commoncanvas.core.files import replace_bytes, replace_text
from commoncanvas.core.numbers import duration, figure, percent
from commoncanvas.core.text import counted, markdown_text
from commoncanvas.pages.plots import loss_png
from commoncanvas.provenance.markdown import last_part, templates
from commoncanvas.provenance.model_card import FIGURES, WHAT
from commoncanvas.provenance.verdict import ROWS_EXPLAINED, metric_rows, verdicts
from commoncanvas.release.about import About
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.release.papers.eu_data_sources import written_columns
from commoncanvas.release.papers.facts import curated, data_facts, part_license
from commoncanvas.release.papers.run_facts import (
    Run,
    caption_report_of,
    evaluation_of,
    run_of,
    study_of,
)
from commoncanvas.release.papers.sources import origins

NAME = "technical-report.md"
PLOT = "plots/loss.png"
OBJECTIVES = {
    "epsilon": "the noise that was added (epsilon prediction)",
    "sample": "the image without noise (sample prediction)",
    "v_prediction": "the velocity (v prediction, arXiv 2202.00512)",
    "flow_prediction": "the flow from noise to image (flow matching, arXiv 2210.02747)",
}
TRICKS = {
    "min_snr_gamma": "min-SNR-gamma loss weights (arXiv 2303.09556), gamma",
    "sigma_weights": "loss weights by the share of noise (arXiv 2403.03206):",
    "logit_normal": "timesteps from a logit-normal distribution (arXiv 2403.03206), mean and deviation",
    "logit_normal_end": "a curriculum of timesteps that ends at mean",
}
SHOWN = ("steps", "guidance_scale", "seed", "feature_extractor", "captioner")
"""Settings of an evaluation that the report states."""
UNMEASURED = {
    "evaluation": "quality: no evaluation is in this release",
    "captions": "quality of the captions: no caption report is in this release",
    "study": "how the quality depends on the number of images: no study of scarcity is in this release",
    "flops": "FLOPs of the training: they are not recorded",
    "energy": "energy of the training",
    "memorization": "how many training images the model can draw again",
    "people": "how people judge the images",
    "bias": "how the model shows groups of people",
}
OF_IMAGES = ("captions", "study", "memorization", "people", "bias")
"""Keys of UNMEASURED that are about models that draw."""


def write(model: ModelFolder, out: Path, about: About) -> None:
    """Write the report and its plots. Raises ModelError, and ReleaseError if a file that it draws from is damaged."""
    record, facts = model.record, data_facts(model)
    run, found = run_of(model, out), evaluation_of(model, out)
    captions, study = caption_report_of(model, out), study_of(out)
    if run:
        (out / PLOT).parent.mkdir(exist_ok=True)
        replace_bytes(out / PLOT, loss_png(run.losses, run.validation))
    measured = found or {}
    figures = {**measured.get("figures", {}), "feature_extractor": measured.get("feature_extractor")}
    absent = {"evaluation": not found, "captions": not captions, "study": not study}
    absent |= {"energy": about.energy_kwh is None}
    made = templates("commoncanvas.release.papers")
    made.filters |= {
        "plain": markdown_text,
        "its_license": part_license,
        "duration": duration,
        "figure": figure,
        "percent": percent,
    }
    text = made.get_template("technical_report.md.j2").render(
        r=record,
        about=about,
        name=about.model or record["name"],
        what=WHAT.get(record["task"], "A model"),
        facts=facts,
        sources=[each.line(sum(facts.sources.values())) for each in origins(facts.sources, about)],
        left_out=curated(model),
        written=written_columns(model, facts),
        captioners=[part for part in record["built_on"] if part["role"] == "captioner"],
        captions=captions,
        recipe=_recipe(record),
        run=run and _shown(run),
        plot=PLOT,
        evaluation=found and {name: found.get(name) for name in SHOWN},
        prompts=(figures.get("prompts"), figures.get("prompts_heldout")),
        rows_explained=ROWS_EXPLAINED,
        rows=[row for row in metric_rows(figures) if set(row["values"]) - {None, "—"}],
        verdicts=verdicts(figures),
        own_figures={
            FIGURES[key]: value for key, value in record.get("figures", {}).items() if key in FIGURES
        },
        study=study and _study(study[1], study[0].relative_to(out)),
        unmeasured=[
            words
            for key, words in UNMEASURED.items()
            if absent.get(key, True) and (record["task"] == "diffusion" or key not in OF_IMAGES)
        ],
    )
    replace_text(out / NAME, text)


def _recipe(record: Mapping[str, Any]) -> dict[str, str]:
    """The settings that decide most, in words. The whole recipe is in provenance.json."""
    recipe, train = record["recipe"], record["recipe"]["train"]
    found = {"image size": f"{recipe['size']} × {recipe['size']} pixels"} if recipe.get("size") else {}
    if record["task"] == "diffusion":
        found |= _diffusion(recipe)
    steps, batch = record["training"]["steps"], train["batch_size"]
    images = record["rows"]["train"]
    epochs = f", about {steps * batch / images:,.1f} times each image" if images else ""
    ema = (
        f", factor {train['ema_decay']}, every {counted(train['ema_every'], 'steps')}"
        if train["ema_decay"]
        else ""
    )
    return found | {
        "parameters that were trained": f"{record['training']['parameters']:,}",
        "steps": f"{steps:,} of {batch:,} images, {steps * batch:,} in all{epochs}",
        "optimizer": f"AdamW, learning rate {train['learning_rate']:g}, betas {train['betas'][0]:g} and "
        f"{train['betas'][1]:g}, weight decay {train['weight_decay']:g}",
        "schedule": f"{train['warmup_steps']:,} steps of warm-up, then {train['schedule']}",
        "average of the weights": f"exponential{ema}" if ema else "none",
        "precision": train["precision"],
        "seed": str(record["seed"]),
        "software": ", ".join(f"{name} {version}" for name, version in record.get("parts", {}).items()),
    }


def _diffusion(recipe: Mapping[str, Any]) -> dict[str, str]:
    schedule, noise = recipe["noise"]["schedule"], recipe["noise"]
    network = recipe.get("transformer") or recipe["unet"]
    kind = "transformer (diffusers' PixArtTransformer2DModel)"
    if not recipe.get("transformer"):
        kind = f"U-Net (diffusers' UNet2DConditionModel), channels {network.get('block_out_channels', 'as in init')}"
    target = "as its starting weights"
    if isinstance(schedule, dict):
        target = OBJECTIVES[schedule.get("prediction_type", "epsilon")]
    tricks = [f"{words} {noise[key]}" for key, words in TRICKS.items() if noise.get(key) is not None]
    if recipe.get("alignment"):
        tricks.append(f"alignment with {recipe['alignment']['column']} (REPA, arXiv 2410.06940)")
    if recipe.get("masked_patches"):
        tricks.append(
            f"{recipe['masked_patches']:.0%} of the patches left out in training (arXiv 2407.15811)"
        )
    return {
        "network": kind,
        "starting weights": last_part(recipe["init"]) if recipe.get("init") else "random",
        "objective": f"mean squared error; the network predicts {target}",
        "besides": "; ".join(tricks) or "nothing",
        "autoencoder": last_part(recipe["vae"]),
        "text encoder": f"{last_part(recipe['text_encoder'])}, {recipe['text_length']} tokens",
        "texts left out": f"{recipe['caption_dropout']:.0%}, for guidance (arXiv 2207.12598)",
        "sampler by default": f"{recipe['sample']['scheduler']}, {recipe['sample']['steps']} steps, guidance "
        f"{recipe['sample']['guidance_scale']:g}",
    }


def _shown(run: Run) -> dict[str, Any]:
    losses = [loss for _, loss in run.losses]
    near = max(1, len(losses) // 20)
    return {
        "first": sum(losses[:near]) / near,
        "last": sum(losses[-near:]) / near,
        "near": near,
        "validation": run.validation,
        "best": min(run.validation, key=lambda each: each[1], default=None),
        "seconds": run.seconds,
        "threads": run.threads,
        "memory": run.peak_memory_gb,
        "skipped": run.skipped,
    }


def _study(found: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The table of a study, and the place of its plot."""
    return {
        "plot": (folder / "scarcity.png").as_posix(),
        "rows": found["rows"],
        "notes": found["notes"],
        "finished": found["finished"],
        "steps": found["steps"],
    }
