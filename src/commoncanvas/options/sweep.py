"""Options of `evaluate` for a sweep: several settings, models, or prompts from a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What is drawn and how it is measured. Every model draws the same prompts from the same seeds.

    Attributes:
        prompts: coco:FILE (captions_val2014.json), parti:FILE (PartiPrompts.tsv), a text, CSV or TSV file, or heldout:
            the texts of rows that no model was trained on.
        reference: a folder of real images, an .npz file with their statistics (mu, sigma), catalog:URI (its fetched
            images), or heldout: the real images of the prompts.
        guidance_scales: classifier-free guidance; 1: none; default: each model's own.
        steps: sampling steps; default: each model's own.
        samplers: diffusers classes such as DDIMScheduler; default: each model's own.
        samples: images of each model and setting; default: one for each prompt. More than the prompts: a multiple.
        seed: random seed that selects prompts and images.
        features: feature networks, as NAME or NAME:FILE.
        scorers: what scores an image with its prompt: clip:MODEL (a folder of open_clip, or hf-hub:...), or
            captioner:MODEL (cosine of the prompt and the captioner's caption).
        axes: curves to plot, each as X,Y, such as clip,fd or guidance_scale,kd; default: scorers against distances.
    """

    prompts: str = "heldout"
    reference: str = "heldout"
    guidance_scales: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    samplers: tuple[str, ...] = ()
    samples: int | None = None
    seed: int = 0
    features: tuple[str, ...] = ("efficientnet-lite0",)
    scorers: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()


DEFAULTS = SweepOptions()
