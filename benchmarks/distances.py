"""Our distances between sets of features beside those of dgm-eval, the code of "Exposing flaws of generative model
evaluation metrics" (Stein et al., arXiv 2306.04675), on the same features: the values must be the same.

Run: python benchmarks/distances.py CLONE [--samples 600] [--features 96]. CLONE is one of
github.com/layer6ai-labs/dgm-eval, which is not on PyPI. Its files fd.py, mmd.py and prdc.py run unchanged, in an
environment of their own with scipy 1.15 (they call `sqrtm` with an argument that later ones don't have). A minute on
two cores. Features are random, of two Gaussians. Printed: each figure by both, and the relative difference.

Precision and recall are computed with 3 neighbours and density and coverage with 5, as their papers have them.
dgm-eval's FD-infinity draws its subsets without a seed; here it gets ours.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from environments import FOLDER, python_with, run

from commoncanvas.evaluation.comparing import kernels, manifold
from commoncanvas.evaluation.frechet import Gaussian, at_infinity
from commoncanvas.evaluation.metrics import frechet_distance

PEER = """
import importlib.util, json, sys
from pathlib import Path
import numpy as np
clone, file = sys.argv[1:]
def part(name):
    spec = importlib.util.spec_from_file_location(name, Path(clone, "dgm_eval/metrics", name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
made, real = np.load(file)
fd, mmd, prdc = map(part, ("fd", "mmd", "prdc"))
seeded = np.random.default_rng
fd.np.random.default_rng = lambda: seeded(0)
three, five = (prdc.compute_prdc(real, made, nearest_k=k) for k in (3, 5))
found = {
    "FD": fd.compute_FD_with_reps(real, made),
    "FD-infinity": fd.compute_FD_infinity(real, made),
    "KD": mmd.compute_mmd(real, made, n_subsets=1, subset_size=len(real)).mean(),
    "precision": three["precision"], "recall": three["recall"],
    "density": five["density"], "coverage": five["coverage"],
}
print(json.dumps({name: float(value) for name, value in found.items()}))
"""


def ours(made: np.ndarray, real: np.ndarray) -> dict[str, float]:
    near = {name: float(values.mean()) for name, values in manifold.neighbourhoods(made, real).items()}
    return {
        "FD": frechet_distance(made, real),
        "FD-infinity": at_infinity(made, Gaussian.of(real)),
        "KD": kernels.kid(made, real),
        **near,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clone", type=Path)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--features", type=int, default=96)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    shape = (2, options.samples, options.features)
    mixing = random.normal(size=(options.features, options.features)) / options.features**0.5
    sets = (random.normal(size=shape) @ mixing).astype(np.float32)
    sets[0] = 0.9 * sets[0] + 0.05
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "features.npy"
        np.save(file, sets)
        packages = ("numpy<2.3", "scipy==1.15.3", "scikit-learn==1.7.2", "joblib", "threadpoolctl", "tqdm")
        theirs = run(python_with(FOLDER / "dgm-eval", *packages), PEER, options.clone.resolve(), file)
    for name, value in ours(*sets).items():
        print(f"{name:12} ours {value:.8g}  dgm-eval {theirs[name]:.8g}  {abs(value / theirs[name] - 1):.1e}")


if __name__ == "__main__":
    main()
