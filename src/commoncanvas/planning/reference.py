"""The only published table of such trainings, and the share of the devices' peak that it implies."""

from __future__ import annotations

from dataclasses import dataclass

from commoncanvas.models.data_sheets import Device

DEFAULT_UTILISATION = 0.25
"""Share of the peak, near the middle of what the table's ten throughputs imply. Errors: docs/guide/plan.md."""
IMAGES = {256: 1126.4e6, 512: 1740.8e6}
"""Size in pixels -> images that SD2 base was trained on: batches of 2,048, for 550,000 and 850,000 steps."""
DAY_S = 86400


@dataclass(frozen=True)
class Row:
    """`images_per_s`: by size, of SD2's U-Net on precomputed latents and text states. `days`: for IMAGES."""

    gpus: int
    images_per_s: dict[int, float]
    days: float


# mosaicml/diffusion, README, on A100s.
TABLE = (
    Row(8, {256: 1100, 512: 290}, 81.33),
    Row(16, {256: 2180, 512: 585}, 40.42),
    Row(32, {256: 4080, 512: 1195}, 20.06),
    Row(64, {256: 8530, 512: 2340}, 10.14),
    Row(128, {256: 11600, 512: 4590}, 5.51),
)


@dataclass(frozen=True)
class Comparison:
    """A row of the table, with the utilisation that each figure implies and the plan's relative error for each figure:
    (planned - published) / published. The figures are images/s by size, and days.
    """

    row: Row
    implied: dict[int, float]
    implied_by_days: float
    errors: dict[int, float]
    error_of_days: float


def compare(
    flops: dict[int, int], device: Device, utilisation: float = DEFAULT_UTILISATION
) -> list[Comparison]:
    """Compare the plan with each row. `flops`: for one image, by size."""
    found = []
    for row in TABLE:
        peak = row.gpus * device.peak
        implied = {size: rate * flops[size] / peak for size, rate in row.images_per_s.items()}
        work = sum(count * flops[size] for size, count in IMAGES.items())
        days = work / (peak * utilisation) / DAY_S
        found.append(
            Comparison(
                row,
                implied,
                work / (row.days * DAY_S * peak),
                {size: utilisation / share - 1 for size, share in implied.items()},
                days / row.days - 1,
            )
        )
    return found
