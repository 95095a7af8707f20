"""`commoncanvas compare`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from commoncanvas.cli.shared import FLAT, Json, show
from commoncanvas.options.scorers import DEFAULTS, ScorerOptions


def compare(
    generated: str,
    real: str,
    *,
    features: str = "efficientnet-lite0",
    metrics: Annotated[list[str] | None, Parameter(negative="", consume_multiple=True)] = None,
    scorers: Annotated[ScorerOptions, FLAT] = DEFAULTS,
    allow_few: str | None = None,
    cache: str | None = None,
    device: str = "auto",
    json_: Json = False,
) -> None:
    """Compare two sets of images: Fréchet and kernel distances, precision and recall, scores, each with an interval.

    Args:
        generated: folder of generated images, or a .npz file of statistics.
        real: folder of real images, or a .npz file, also of clean-fid.
        features: network, NAME or NAME:WEIGHTS: efficientnet-lite0, inception-v3 (FID, KID), inception-v3-tf1,
            clip-vit-b-32 (CLIP-FID), clip-vit-l-14-336 (CMMD), dinov2-vit-l-14 (FD-DINOv2), sscd.
        metrics: some of fd, fd-infinity, kd, cmmd, precision, recall, density, coverage, is; default: all that network
            and images allow.
        allow_few: your reason why fewer images than a metric needs will do; the result has it.
        cache: folder for the statistics of both sets; they are used again if images and network are the same.
        device: auto, cpu, or a GPU's name.
    """
    from commoncanvas.evaluation.comparing.command import compare as run

    result = run(
        generated,
        real,
        features=features,
        metrics=metrics or (),
        scorers=scorers,
        allow_few=allow_few,
        cache=cache,
        device=device,
    )
    show(result, json_)
