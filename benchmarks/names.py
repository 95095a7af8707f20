"""How much of a held-out image is in its name? What can be found without a diffusion model, for the same prompts.

Run: python benchmarks/names.py [--model demo/model] [--prompts 150]. It takes half a minute on two cores, after the
demo, or with --model build/xs/model after `make xs`. Names are embedded by all-MiniLM-L6-v2, images by
EfficientNet-Lite0, as `evaluate` does. Retrieval of the held-out prompts' own images by

1. the training image whose name is nearest, shown in place of a drawn one;
2. kernel ridge regression from names to features, the best of a few widths and weights (so it is an upper bound);
3. the training image whose features are nearest to the real image's: an oracle.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np

from commoncanvas.evaluation.metrics import retrieval_accuracy
from commoncanvas.evaluation.networks import load_network
from commoncanvas.evaluation.prompts import choose_prompts, read_images
from commoncanvas.models.sentences import embed
from commoncanvas.models.similarity import cosine_similarity
from commoncanvas.provenance.folder import read_rows, trained_catalogs
from commoncanvas.provenance.record_file import read_provenance

SIZE = 64
WIDTHS, WEIGHTS = (1.0, 2.0, 4.0), (0.03, 0.1, 0.3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo/model")
    parser.add_argument("--prompts", type=int, default=150)
    options = parser.parse_args()
    rows = read_rows(options.model)
    catalogs = trained_catalogs(options.model, read_provenance(options.model), ())
    held = choose_prompts(rows, "heldout", options.prompts, 0)
    known = choose_prompts(rows, "train", len(rows), 0)
    network = load_network()
    real, seen = (network(read_images(catalogs, some, SIZE)) for some in (held, known))
    asked, names = (embed([each.text for each in some]) for some in (held, known))

    def found(features: np.ndarray) -> str:
        return f"{100 * retrieval_accuracy(features, real):.1f} %"

    print(f"{len(held)} held-out prompts, {len(known)} different names in training")
    print(
        f"the training image with the nearest name: {found(seen[cosine_similarity(asked, names).argmax(1)])}"
    )
    mean, best = seen.mean(axis=0), {}
    for width, weight in product(WIDTHS, WEIGHTS):
        kernel = np.exp(-width * (2 - 2 * names @ names.T)) + weight * np.eye(len(names))
        weights = np.linalg.solve(kernel, seen - mean)
        made = np.exp(-width * (2 - 2 * asked @ names.T)) @ weights + mean
        best[retrieval_accuracy(made, real)] = f"{found(made)} (width {width:g}, weight {weight:g})"
    print(
        f"kernel ridge regression from names to features, the best of {len(WIDTHS) * len(WEIGHTS)}: {best[max(best)]}"
    )
    nearest = seen[cosine_similarity(real - mean, seen - mean).argmax(1)]
    print(f"the training image with the nearest features: {found(nearest)}")


if __name__ == "__main__":
    main()
