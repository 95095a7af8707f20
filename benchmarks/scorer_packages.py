"""Our scorers beside their authors' packages, on the same inputs: the numbers must be the same.

Run: python benchmarks/scorer_packages.py [hpsv2] [image-reward] [t2v-metrics]; without a name, all. Two minutes on two
cores. Each package is installed by pip into an environment of its own, without what it depends on: it runs with this
environment's torch and transformers. Models are small and random, since the real ones have a billion weights. Printed:
the number of images, and the largest difference of a score.

- hpsv2 1.2.0: its `score`. Its wheel lacks the vocabulary; it gets open_clip's, which is the same. Of 100.
- image-reward 1.5: its CLIP score, from the file CLIPScore.py: the package as a whole needs an older transformers. It
  takes OpenAI's `clip`, whose weights open_clip has too. Of 100; a score below 0 is 0 here.
- t2v-metrics 3.0: its VQAScore by Qwen2-VL, from the file qwen2vl_model.py, with our question and one spelling of the
  answer, on images of a size that nothing resizes. The package as a whole can't be installed: it pins torch 2.5.1, and
  its `apex` needs cryptacular, which doesn't build. Of 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environments import FOLDER, pictures, python_with, run
from PIL import Image

from commoncanvas.evaluation.image_files import read_image
from commoncanvas.evaluation.scorers import hpsv2
from commoncanvas.evaluation.scorers.scorer import load_scorer, scores_of
from commoncanvas.evaluation.scorers.vqa import QUESTION
from commoncanvas.evaluation.suite_prompt import SuitePrompt

sys.path.insert(0, str(Path(__file__).parents[1]))
IMAGES = 12
WHOLE = (112, 112)
"""A size that Qwen2-VL takes as it is. Others are resized once here, and twice there."""
SMALL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 128, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
HPS = """
import json, shutil, sys
from pathlib import Path
import open_clip, torch
import importlib.util
inside = Path(importlib.util.find_spec("hpsv2").origin).parent / "src/open_clip"
shutil.copy(Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz", inside)
asked, weights, config = sys.argv[1:]
shutil.copy(config, inside / "model_configs/small-hps.json")
import hpsv2.img_score as peer
from hpsv2.src.open_clip import create_model_and_transforms
model, _, transform = create_model_and_transforms(
    "small-hps", None, precision="fp32", device="cpu", light_augmentation=True, output_dict=True
)
peer.model_dict.update(model=model, preprocess_val=transform)
found = [float(peer.score(path, text, cp=weights)[0]) for path, text in json.loads(asked)]
print(json.dumps([100 * score for score in found]))
"""
IMAGE_REWARD = """
import importlib.util, json, sys
from pathlib import Path
import clip, torch
from clip.clip import _transform
from clip.model import CLIP
asked, weights, config = sys.argv[1:]
config = json.loads(Path(config).read_text())
seen, read = config["vision_cfg"], config["text_cfg"]
model = CLIP(config["embed_dim"], seen["image_size"], seen["layers"], seen["width"], seen["patch_size"],
             read["context_length"], read["vocab_size"], read["width"], read["heads"], read["layers"])
model.load_state_dict(torch.load(weights, weights_only=True))
clip.load = lambda *_, **__: (model.eval(), _transform(seen["image_size"]))
file = Path(importlib.util.find_spec("ImageReward").origin).parent / "models/CLIPScore.py"
spec = importlib.util.spec_from_file_location("peer", file)
peer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer)
scorer = peer.CLIPScore(None, "cpu")
print(json.dumps([max(0, 100 * scorer.score(text, path)) for path, text in json.loads(asked)]))
"""
T2V_METRICS = """
import importlib.util, json, sys, types
from pathlib import Path
import torch
asked, folder, question = sys.argv[1:]
root = Path(importlib.util.find_spec("t2v_metrics").origin).parent
for name in ("t2v_metrics", "t2v_metrics.models", "t2v_metrics.models.vqascore_models"):
    sys.modules[name] = types.ModuleType(name)  # without its __init__, which imports every model
    sys.modules[name].__path__ = [str(root.parent / name.replace(".", "/"))]
from t2v_metrics.models.vqascore_models import qwen2vl_model as peer
settings = {"path": folder, "torch_dtype": torch.float32, "attn_implementation": "sdpa"}
peer.QWEN2_VL_MODELS["small"] = {"tokenizer": settings, "model": settings}
model = peer.Qwen2VLModel("small", device="cpu")
paths, texts = zip(*json.loads(asked))
print(json.dumps(model.forward(list(paths), list(texts), question_template=question).tolist()))
"""


def hps(work: Path, paths: list[Path]) -> tuple[list[float], Any]:
    import open_clip

    config, weights = work / "small-hps.json", work / "HPS_v2.1_compressed.pt"
    config.write_text(json.dumps(SMALL))
    open_clip.add_model_config(config)
    hpsv2.ARCHITECTURE = "small-hps"
    torch.save({"state_dict": open_clip.create_model("small-hps", pretrained=None).state_dict()}, weights)
    python = python_with(FOLDER / "hpsv2", "hpsv2==1.2.0", "clint", "args")
    theirs = run(python, HPS, json.dumps(asked(paths)), weights, config)
    return theirs, load_scorer(f"hpsv2:{weights}", device="cpu")


def image_reward(work: Path, paths: list[Path]) -> tuple[list[float], Any]:
    import open_clip
    from safetensors.torch import save_file

    folder = work / "clip"
    folder.mkdir()
    network = open_clip.CLIP(**SMALL, quick_gelu=True)
    state = {name: weight.contiguous() for name, weight in network.state_dict().items()}
    written = {"model_cfg": SMALL | {"quick_gelu": True}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    save_file(state, folder / "open_clip_model.safetensors")
    config, weights = work / "clip.json", work / "clip.pt"
    config.write_text(json.dumps(SMALL))
    torch.save(state, weights)
    packages = ("image-reward==1.5", "openai-clip==1.0.1", "ftfy", "wcwidth", "regex", "setuptools<81")
    theirs = run(
        python_with(FOLDER / "image-reward", *packages),
        IMAGE_REWARD,
        json.dumps(asked(paths)),
        weights,
        config,
    )
    return theirs, load_scorer(f"clip:{folder}", device="cpu")


def t2v_metrics(work: Path, paths: list[Path]) -> tuple[list[float], Any]:
    from tests.captioning.models import qwen

    folder = qwen(work / "qwen2-vl", ("Yes", "No"))
    packages = ("t2v_metrics==3.0", "qwen-vl-utils==0.0.14", "decord", "av")
    python = python_with(FOLDER / "t2v-metrics", *packages)
    for path in paths:
        Image.open(path).resize(WHOLE).save(path)
    theirs = run(python, T2V_METRICS, json.dumps(asked(paths)), folder, QUESTION)
    return theirs, load_scorer(f"vqa:{folder}", device="cpu")


PEERS: dict[str, Callable[[Path, list[Path]], tuple[list[float], Any]]] = {
    "hpsv2": hps,
    "image-reward": image_reward,
    "t2v-metrics": t2v_metrics,
}


def asked(paths: list[Path]) -> list[tuple[str, str]]:
    return [(str(path), f"a photo of {number} dogs") for number, path in enumerate(paths)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peers", nargs="*", metavar="PEER", help=", ".join(PEERS))
    chosen = parser.parse_args().peers or [*PEERS]
    for name in chosen:
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            paths = pictures(work / "images", IMAGES)
            theirs, scorer = PEERS[name](work, paths)
            prompts = [SuitePrompt(path, text) for path, text in asked(paths)]
            ours = scores_of(scorer, prompts, [read_image(path) for path in paths])
            worst, above = np.abs(ours - theirs).max(), int((ours > 0).sum())
            print(
                f"{name}: {len(ours)} images, {above} scores above 0, largest difference {worst:.2e}, "
                f"scores from {ours.min():.4g} to {ours.max():.4g}",
                flush=True,
            )


if __name__ == "__main__":
    main()
