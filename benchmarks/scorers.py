"""Our scorers beside their authors' scripts, on the same inputs: the numbers must be the same.

Run: python benchmarks/scorers.py [--geneval CLONE] [--geneval2 CLONE], clones of github.com/djghosh13/geneval and
github.com/facebookresearch/GenEval2. A peer that isn't named is left out. A minute on two cores. Peers that are
packages are in scorer_packages.py.

- geneval: `evaluate` of its evaluate_images.py, taken out of the file, since the file imports mmdet. Its prompts,
  random boxes and colours; the share of cases with one verdict.
- geneval2: its evaluation.py, unchanged, in a process of its own, on images that the suite laid out. The model is a
  small random Qwen3-VL at the name that the script loads. The largest difference of an answer's probability.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environments import pictures
from PIL import Image

from commoncanvas.evaluation.scorers.answers import spellings
from commoncanvas.evaluation.scorers.colours import COLOURS
from commoncanvas.evaluation.scorers.composition import Box, Found, check
from commoncanvas.evaluation.scorers.scorer import load_scorer
from commoncanvas.evaluation.suites.suite import load_suite
from commoncanvas.options.scorers import DEFAULTS

sys.path.insert(0, str(Path(__file__).parents[1]))
ROUNDS = 40
PROMPTS = 16
WANTED = ("compute_iou", "relative_position", "evaluate")
QWEN = "Qwen/Qwen3-VL-8B-Instruct"
NUMBERS = ("yes", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def geneval(clone: Path) -> dict[str, float]:
    draw, colour_of = random.Random(0), dict[Box, str]()
    names: dict[str, Any] = {
        "np": np,
        "POSITION_THRESHOLD": 0.1,
        "COLORS": list(COLOURS),
        "color_classification": lambda image, some, name: [colour_of[tuple(one[0][:4])] for one in some],
    }
    tree = ast.parse((clone / "evaluation/evaluate_images.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in WANTED:
            exec(compile(ast.Module([node], []), "evaluate_images.py", "exec"), names)
    same = right = cases = 0
    prompts = load_suite("geneval").prompts(clone / "prompts/evaluation_metadata.jsonl")
    for record in [prompt.record for prompt in prompts] * ROUNDS:
        found = {
            each["class"]: _objects(record, each["class"], draw, colour_of) for each in record["include"]
        }
        theirs, _ = names["evaluate"](
            None,
            {name: [(np.array([*one.box, one.score]), None) for one in some] for name, some in found.items()},
            record,
        )
        ours = all(
            holds
            for _, holds, _ in check(record, found, lambda _, some: [colour_of[one.box] for one in some])
        )
        same, right, cases = same + (ours == theirs), right + theirs, cases + 1
    return {"cases": cases, "right": right, "same verdict": same / cases}


def _objects(record: Any, name: str, draw: random.Random, colour_of: dict[Box, str]) -> list[Found]:
    """About as many objects as the prompt wants, in random places, often in its colours."""
    wanted = [each for each in record["include"] if each["class"] == name]
    count = max(each["count"] for each in wanted) + draw.choice([-1, 0, 0, 0, 1, 2])
    palette = [each["color"] for each in wanted if "color" in each] * 6 + list(COLOURS)
    found = []
    for _ in range(count):
        x, y = draw.uniform(0, 80), draw.uniform(0, 80)
        box = (x, y, x + draw.uniform(1, 60), y + draw.uniform(1, 60))
        colour_of[box] = draw.choice(palette)
        found.append(Found(box, draw.random()))
    return sorted(found, key=lambda one: -one.score)


def geneval2(clone: Path, work: Path) -> dict[str, float]:
    own = load_suite("geneval2")
    every = (clone / "geneval2_data.jsonl").read_text().splitlines()
    work.mkdir()
    data = work / "data.jsonl"
    data.write_text("\n".join(every[:: len(every) // PROMPTS]) + "\n")
    prompts = own.prompts(data)
    paths = pictures(work / "drawn", len(prompts))
    own.lay_out(
        prompts, {each.name: [path] for each, path in zip(prompts, paths, strict=True)}, work / "form"
    )
    _qwen(work / QWEN)
    script = shutil.copy(clone / "evaluation.py", work)
    words = ["--benchmark_data", data, "--image_filepath_data", work / "form/image_paths-0.json"]
    words += ["--method", "soft_tifa_gm", "--output_file", work / "theirs.json"]
    subprocess.run([sys.executable, script, *map(str, words)], cwd=work, check=True, capture_output=True)
    theirs = np.concatenate(json.loads((work / "theirs.json").read_text()))
    scorer = load_scorer(f"soft-tifa:{work / QWEN}", DEFAULTS, "cpu")
    judged = scorer(prompts, [np.asarray(Image.open(path).convert("RGB")) for path in paths])
    ours = np.array([part.score for each in judged for part in each.parts])
    return {"answers": len(ours), "largest relative difference": float(np.abs(ours / theirs - 1).max())}


def _qwen(folder: Path) -> None:
    """A small Qwen3-VL. Each spelling is one token, as most are in the real one."""
    from tests.captioning.models import CHAT, loud, tokenizer
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    special = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    words = tokenizer(*special)
    words.add_tokens([spelling for answer in NUMBERS for spelling in spellings(answer)])
    start, end, image, video = words.convert_tokens_to_ids(list(special))
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3], "mrope_interleaved": True}
    text = {"vocab_size": len(words), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "rope_parameters": rope}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 16}
    vision |= {"out_hidden_size": 32, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    torch.manual_seed(2)
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    network = loud(Qwen3VLForConditionalGeneration(config))
    network.generation_config.eos_token_id = [2, 0]
    network.save_pretrained(folder)
    pixels = Qwen2VLImageProcessor(size={"shortest_edge": 1024, "longest_edge": 16384}, patch_size=16)
    chat = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    Qwen3VLProcessor(pixels, words, Qwen3VLVideoProcessor(), chat_template=chat).save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--geneval", type=Path)
    parser.add_argument("--geneval2", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.geneval:
            print("geneval", geneval(chosen.geneval))
        if chosen.geneval2:
            print("geneval2", geneval2(chosen.geneval2.resolve(), Path(folder, "geneval2")))


if __name__ == "__main__":
    main()
