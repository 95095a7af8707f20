"""Images a second of InceptionV3's features, ours and two peers', with one file of weights and the same JPEGs.

Run: python benchmarks/features.py [--peer-venv FOLDER] [--weights FILE] [--images 256] [--rounds 3] [--threads 2].
Takes about five minutes on two cores. Without --weights, the network has random weights in the published file's format;
the time doesn't depend on their values. The JPEGs have 640 x 480 pixels.

- clean-fid 0.1.35: `get_folder_features`, mode "clean", batches of 32, and 0, 1 or 2 loader processes, whichever is
  fastest. It loads TorchScript, so the same network is scripted for it. Its folder is made by this script.
- torch-fidelity 0.4: `get_featuresdict_from_dataset` on "inception-v3-compat", batches of 32, with its own number of
  loader processes and with none, whichever is faster.
- ours: `load_network("inception-v3").of_files` beside clean-fid, "inception-v3-tf1" beside torch-fidelity.

Every run is a process of its own, whose time begins after the network is loaded and has computed two images. Also
printed: the largest difference of a feature, and FID and KID between the two halves of the images by each tool's own
code.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from environments import FOLDER, python_with, run
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
PEER = "clean-fid==0.1.35"
CHILD = """
import json, sys, time, warnings
from pathlib import Path
warnings.filterwarnings("ignore")
import numpy as np, torch
tool, folder, weights, out, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
files = sorted(Path(folder).glob("*.jpg"))

def inception():
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=weights)

if tool.startswith("ours"):
    from commoncanvas.evaluation.networks import load_network
    network = load_network(tool.partition(" ")[2] + ":" + weights, "cpu")
    run = network.of_files
elif tool.startswith("clean-fid"):
    from cleanfid.fid import get_files_features
    from cleanfid.inception_torchscript import InceptionV3W
    whole = inception()
    class Layers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(*[part for name, part in whole.named_children() if name != "fc"])
        def forward(self, x):
            return self.layers(x)
    torch.jit.script(Layers().eval()).save(out + "/inception-2015-12-05.pt")
    model = InceptionV3W(out, download=False).eval()
    workers = int(tool.rpartition(" ")[2])
    def run(some):
        return get_files_features([*map(str, some)], model, num_workers=workers, batch_size=32,
                                  device=torch.device("cpu"), mode="clean", verbose=False)
else:
    from torch_fidelity.datasets import ImagesPathDataset
    from torch_fidelity.utils import get_featuresdict_from_dataset
    network = inception()
    def run(some):
        found = get_featuresdict_from_dataset(
            ImagesPathDataset([*map(str, some)]), network, 32, False, tool.endswith("0"), False)
        return found["2048"].numpy()
run(files[:2])
began = time.perf_counter()
features = run(files)
seconds = time.perf_counter() - began
np.save(out + "/features.npy", features)
print(json.dumps({"images_per_s": len(files) / seconds}))
"""
FIGURES = """
import json, sys, numpy as np, warnings
warnings.filterwarnings("ignore")
tool, path = sys.argv[1:]
x = np.load(path)
a, b = x[: len(x) // 2], x[len(x) // 2 :]
if tool == "clean-fid":
    from cleanfid.fid import fid_from_feats, kernel_distance
    found = fid_from_feats(a, b), kernel_distance(a, b, num_subsets=1)
elif tool == "torch-fidelity":
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    sides = [torch.from_numpy(each) for each in (a, b)]
    fid = fid_statistics_to_metric(*[fid_features_to_statistics(each.double()) for each in sides], verbose=False)
    kid = kid_features_to_metric(*sides, kid_subsets=1, kid_subset_size=len(a), verbose=False)
    found = fid["frechet_inception_distance"], kid["kernel_inception_distance_mean"]
else:
    from commoncanvas.evaluation.comparing.kernels import kid
    from commoncanvas.evaluation.metrics import frechet_distance
    found = frechet_distance(a, b), kid(a, b)
print(json.dumps([float(each) for each in found]))
"""


def make_images(folder: Path, count: int) -> None:
    """JPEGs with shapes and noise, as large as photos are."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), np.int16)
        noisy = smooth + random.integers(-12, 13, smooth.shape, dtype=np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05}.jpg", quality=90)


def measure(folder: Path, options: argparse.Namespace) -> None:
    python = python_with(options.peer_venv, PEER)

    def by(tool: str) -> Path | str:
        return python if tool.startswith("clean-fid") else sys.executable

    weights = options.weights or folder / "weights.pth"
    if not options.weights:
        from tests.evaluation.random_inception import save_random_inception

        save_random_inception(weights)
    make_images(folder / "images", options.images)
    tools = ["ours inception-v3", *(f"clean-fid {workers}" for workers in range(3))]
    tools += ["ours inception-v3-tf1", "torch-fidelity 0", "torch-fidelity 4"]
    rates: dict[str, list[float]] = {tool: [] for tool in tools}
    for number in range(options.rounds):
        for tool in tools:
            out = folder / tool.replace(" ", "-")
            out.mkdir(exist_ok=True)
            words = (CHILD, tool, folder / "images", weights, out, options.threads)
            found = run(by(tool), *words, threads=options.threads)
            rates[tool].append(found["images_per_s"])
            print(f"round {number + 1}: {tool}: {rates[tool][-1]:.2f} images/s", flush=True)
    medians = {tool: statistics.median(found) for tool, found in rates.items()}
    print()
    for ours, peer in (("ours inception-v3", "clean-fid"), ("ours inception-v3-tf1", "torch-fidelity")):
        best = max((tool for tool in tools if tool.startswith(peer)), key=lambda tool: medians[tool])
        print(
            f"{ours}: {medians[ours]:.2f} images/s; {best}: {medians[best]:.2f}; {medians[ours] / medians[best]:.2f}x"
        )
        paths = [folder / tool.replace(" ", "-") / "features.npy" for tool in (ours, best)]
        mine, theirs = map(np.load, paths)
        print(
            f"  features: largest difference {np.abs(mine - theirs).max():.2e} of {np.abs(theirs).max():.2f}"
        )
        for name, tool, path in (("ours", "ours", paths[0]), (peer, peer, paths[1])):
            fid, kid = run(by(tool), FIGURES, tool, path, threads=options.threads)
            print(f"  {name}: FID {fid:.5f}, KID {kid:.7f}")
    peers = [rate for tool, rate in medians.items() if not tool.startswith("ours")]
    print(
        f"\nours, the slower of its two, against the best of all peers: {_slower(medians) / max(peers):.2f}x"
    )


def _slower(medians: dict[str, float]) -> float:
    return min(rate for tool, rate in medians.items() if tool.startswith("ours"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-venv", type=Path, default=FOLDER / "clean-fid")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), options)


if __name__ == "__main__":
    main()
