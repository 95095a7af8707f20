"""The figures of an evaluation: each with its baselines, and in words. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commoncanvas.core.numbers import figure, percent

LEVEL = 0.05
"""If chance reaches a figure more often than this, the figure is not better than chance."""
FEWEST = 4
"""With three prompts, one shuffle in six changes nothing, so no figure could be better than chance."""
CHANCE, INTERVAL, BEST, NOISE, SHUFFLED = (
    "chance",
    "95\u00a0% interval",
    "autoencoder alone",
    "noise",
    "shuffled",
)
"""Names of the rows below a figure."""
ROWS_EXPLAINED = (
    "Autoencoder alone: the real images, stored and restored by the autoencoder; an image model that uses it can "
    "hardly be better. Noise: uniform noise instead of images. Shuffled: each caption against another image's text. "
    "95\u00a0% interval: the confidence interval of the figure above it. Chance: one divided by the number of prompts."
)
SPLITS = {"seen": "", "heldout": "_heldout"}
NAMES = {"seen": "Prompts seen in training", "heldout": "Prompts held out"}


def metric_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of figures: name, meaning, values seen and held out, baselines of each."""
    get = summary.get
    network = summary.get("feature_extractor") or "EfficientNet-Lite0"
    return [
        {
            "name": "Retrieval",
            "says": "how often the real image with the nearest features is the prompt's own",
            "better": "higher",
            "values": (percent(get("retrieval_seen")), percent(get("retrieval_heldout"))),
            "baselines": [
                (
                    CHANCE,
                    percent(get("retrieval_chance")),
                    percent(get("retrieval_chance_heldout", get("retrieval_chance"))),
                ),
                *_interval(summary),
                (
                    BEST,
                    percent(get("retrieval_reconstruction")),
                    percent(get("retrieval_reconstruction_heldout")),
                ),
            ],
        },
        *(
            {
                "name": title,
                "says": says,
                "better": "lower",
                "values": (figure(get(key)), figure(get(f"{key}_heldout"))),
                "baselines": [
                    (
                        BEST,
                        figure(get(f"{key}_reconstruction")),
                        figure(get(f"{key}_reconstruction_heldout")),
                    ),
                    (NOISE, figure(get(f"{key}_noise")), figure(get(f"{key}_noise_heldout"))),
                ],
            }
            for key, title, says in (
                ("fd", "FD", f"Fréchet distance to the real images, {network} features"),
                ("kd", "KD", "kernel distance (MMD²) to the real images, the same features"),
            )
        ),
        {
            "name": "Round trip",
            "says": "cosine of the prompt and the captioner's caption of the generated image",
            "better": "higher",
            "values": (figure(get("roundtrip_cosine")), figure(get("roundtrip_cosine_heldout"))),
            "baselines": [
                (
                    SHUFFLED,
                    figure(get("roundtrip_cosine_shuffled")),
                    figure(get("roundtrip_cosine_shuffled_heldout")),
                )
            ],
        },
        {
            "name": "Captions",
            "says": "cosine of captions of real images and their true names, which the captioner never saw",
            "better": "higher",
            "values": (None, figure(get("caption_cosine"))),
            "baselines": [(SHUFFLED, None, figure(get("caption_cosine_shuffled")))],
        },
    ]


def _interval(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Retrieval's 95 % confidence interval, seen and held out; nothing if the summary has none."""
    shown = []
    for split in ("", "_heldout"):
        low, high = summary.get(f"retrieval_low{split}"), summary.get(f"retrieval_high{split}")
        shown.append("—" if low is None or high is None else f"{100 * low:.0f}–{100 * high:.0f}\u00a0%")
    return [(INTERVAL, shown[0], shown[1])] if shown != ["—", "—"] else []


def verdicts(summary: Mapping[str, Any]) -> list[str]:
    """Sentences that say what the figures of each set of prompts mean. A missing figure has no sentence.

    "Better than chance" is the result of a permutation test, see `metrics.permutation_p`: fewer than 5 of 100 ways to
    shuffle the prompts do as well.
    """
    return [line for split in SPLITS for line in _of_split(summary, split)]


def _of_split(summary: Mapping[str, Any], split: str) -> list[str]:
    def get(name: str) -> Any:
        return summary.get(f"{name}{SPLITS[split]}")

    found, chance, lines = summary.get(f"retrieval_{split}"), get("retrieval_chance"), []
    if None not in (found, chance, get("retrieval_p")):
        lines.append(
            f"{NAMES[split]}: {percent(found)} of prompts found, chance {percent(chance)}: "
            f"{_compared(get('retrieval_p'), get('prompts'), 'chance')}."
        )
    cosine, shuffled = get("roundtrip_cosine"), get("roundtrip_cosine_shuffled")
    if None not in (cosine, shuffled, get("roundtrip_p")):
        lines.append(
            f"{NAMES[split]}: captions of the images have a cosine of {figure(cosine)} with the prompts, "
            f"shuffled {figure(shuffled)}: {_compared(get('roundtrip_p'), get('prompts'), 'shuffled')}."
        )
    distance, best, worst = get("fd"), get("fd_reconstruction"), get("fd_noise")
    if None not in (distance, best, worst) and worst > best:
        way = (worst - distance) / (worst - best)
        result = (
            f"{100 * way:.0f}\u00a0% of the way from noise ({figure(worst)}) to the autoencoder alone ({figure(best)})"
            if way > 0
            else f"no better than noise ({figure(worst)})"
        )
        lines.append(f"{NAMES[split]}: FD {figure(distance)} is {result}.")
    return lines


def _compared(p: float, prompts: int | None, baseline: str) -> str:
    better = "better" if p < LEVEL else "not better"
    few = p >= LEVEL and prompts is not None and prompts < FEWEST
    return f"{better} than {baseline} (p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}" + (
        f"; {prompts} prompts are too few to tell)" if few else ")"
    )
