"""How far `commoncanvas plan` is off from the one published table of such trainings, row by row.

Run: python benchmarks/plan.py [--write docs/guide/plan.md]. The table is mosaicml/diffusion's for SD2 base on 8 to 128
A100s (see commoncanvas.planning.reference), the network s-c's and s-c-512's, whose FLOPs are counted. Prints two
tables, or puts them into a file between its two marks.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from commoncanvas.config import DiffusionRecipe, load_recipe
from commoncanvas.models.data_sheets import DEVICES
from commoncanvas.planning.network import network_of
from commoncanvas.planning.parts import latents_of, text_states_of
from commoncanvas.planning.reference import DEFAULT_UTILISATION, compare

BEGIN, END = "<!-- benchmarks/plan.py -->", "<!-- end -->"


def flops() -> dict[int, int]:
    """Size in pixels -> FLOPs for one image, forward and backward."""
    found = {}
    for name in ("s-c", "s-c-512"):
        recipe = load_recipe(name)
        assert isinstance(recipe, DiffusionRecipe)
        found[recipe.size] = network_of(recipe, latents_of(recipe), text_states_of(recipe)).flops
    return found


def report() -> str:
    counted = flops()
    rows = compare(counted, DEVICES["a100"])
    throughputs = [share for row in rows for share in row.implied.values()]
    lines = [
        f"SD2's U-Net, forward and backward, one image: {counted[256] / 1e9:,.1f} GFLOPs at 256 px, "
        f"{counted[512] / 1e9:,.1f} at 512 px.",
        "",
        "| A100s | published images/s, 256 / 512 px | days | utilisation that these imply, 256 / 512 px | by days |",
        "|---|---|---|---|---|",
    ]
    for one in rows:
        rates, shares = one.row.images_per_s, one.implied
        lines.append(
            f"| {one.row.gpus} | {rates[256]:,.0f} / {rates[512]:,.0f} | {one.row.days} "
            f"| {shares[256]:.1%} / {shares[512]:.1%} | {one.implied_by_days:.1%} |"
        )
    lines += [
        "",
        f"Ten throughputs: median {statistics.median(throughputs):.1%}, geometric mean "
        f"{statistics.geometric_mean(throughputs):.1%}; the default is {DEFAULT_UTILISATION:.0%}. "
        "With it the plan is off by:",
        "",
        "| A100s | images/s at 256 px | images/s at 512 px | days |",
        "|---|---|---|---|",
    ]
    for one in rows:
        lines.append(
            f"| {one.row.gpus} | {one.errors[256]:+.1%} | {one.errors[512]:+.1%} | {one.error_of_days:+.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    made = report()
    if options.write is None:
        print(made)
        return
    text = options.write.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    options.write.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
