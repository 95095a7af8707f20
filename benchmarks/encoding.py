"""Images a second of `encode`: against the bare network on the same tensors, and against mosaicml/diffusion's way.

Run: python benchmarks/encoding.py [--peer-venv FOLDER] [--images 24] [--rounds 3]. SD2's classes at half its width,
random weights, bf16 (fp32 on a CPU without bf16), JPEGs of 683 x 512 pixels. The peer does what
scripts/precompute_latents.py of github mosaicml/diffusion does, written anew here with its settings: a StreamingDataset
of JPEGs in a DataLoader of 8 workers, Pillow's decode and the largest centre square at 256 and at 512 pixels, a sample
of the posterior at both sizes, text states of 77 tokens, all into an MDS file. Ours makes the same three: latents at
256 and 512, states of 77 tokens. The peer runs in the same precision, since fp16, its own, is slow on a CPU. Its folder
(mosaicml-streaming beside this environment's torch) is made if it isn't there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

STREAMING = "mosaicml-streaming==0.13.0"
NEEDS = ("brotli", "crc32c", "python-snappy", "zstd", "xxhash<4", "catalogue")
BATCH = 8

PEER = """
import json, sys, time
from io import BytesIO
import torch
from diffusers import AutoencoderKL
from PIL import Image
from streaming import MDSWriter, StreamingDataset
from torch.utils.data import DataLoader
from torchvision import transforms
from transformers import AutoTokenizer, CLIPTextModel

data, model, out, workers = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[sys.argv[5]]
tokenizer = AutoTokenizer.from_pretrained(model, subfolder="tokenizer")

def largest_square(size):
    def crop(image):
        side = min(image.size)
        return transforms.functional.resize(transforms.functional.center_crop(image, side), size, antialias=True)
    return crop

def transform(size):
    normal = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return transforms.Compose([largest_square(size), transforms.ToTensor(), normal])

class Samples(StreamingDataset):
    sizes = [transform(256), transform(512)]
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        found = {"sample": sample}
        tokens = tokenizer(sample["caption"], padding="max_length", max_length=77, truncation=True)["input_ids"]
        found["captions"] = torch.tensor(tokens)
        for number, change in enumerate(self.sizes):
            found[f"image_{number}"] = change(Image.open(BytesIO(sample["jpg"])).convert("RGB"))
        return found

if __name__ == "__main__":
    vae = AutoencoderKL.from_pretrained(model, subfolder="vae", torch_dtype=dtype)
    encoder = CLIPTextModel.from_pretrained(model, subfolder="text_encoder", dtype=dtype)
    dataset = Samples(local=data, shuffle=False, batch_size=8)
    loader = DataLoader(dataset, batch_size=8, num_workers=workers, prefetch_factor=2, persistent_workers=True)
    names = ("jpg", "caption_latents", "latents_256", "latents_512")
    columns = {"caption": "str"} | dict.fromkeys(names, "bytes")
    began, count = None, 0
    with MDSWriter(out=out, columns=columns, compression=None, hashes=[], size_limit=256 * 2**20) as writer:
        began = time.perf_counter()
        for batch in loader:
            with torch.no_grad():
                small, large = (
                    (vae.encode(batch[name].to(dtype))["latent_dist"].sample() * 0.18215).half().numpy()
                    for name in ("image_0", "image_1")
                )
                states = encoder(batch["captions"])[0].half().numpy()
            for i in range(len(small)):
                writer.write({
                    "jpg": batch["sample"]["jpg"][i], "caption": batch["sample"]["caption"][i],
                    "caption_latents": states[i].tobytes(),
                    "latents_256": small[i].tobytes(), "latents_512": large[i].tobytes(),
                })
            count += len(small)
    print(json.dumps({"seconds": time.perf_counter() - began, "images": count}))
"""

MDS = """
import sys
from pathlib import Path
from streaming import MDSWriter
with MDSWriter(out=sys.argv[2], columns={"jpg": "bytes", "caption": "str"}) as writer:
    for path in sorted(Path(sys.argv[1]).glob("*.jpg")):
        writer.write({"jpg": path.read_bytes(), "caption": "a photo of " + path.stem})
"""


def peer_venv(folder: Path) -> Path:
    """A Python with mosaicml-streaming, and this environment's torch, diffusers and transformers."""
    import site

    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "ours.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    if subprocess.run([python, "-c", "import streaming"], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", STREAMING], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *NEEDS], check=True)
    return python


def make_model(folder: Path) -> None:
    """SD2's VAE and text encoder at half their width, laid out as its pipeline."""
    import torch
    from diffusers import AutoencoderKL
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[64, 128, 256, 256],
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=0.18215,
    ).save_pretrained(folder / "vae")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE({piece: n for n, piece in enumerate(["<pad>", "</s>", *alphabet])}, []))
    words.pre_tokenizer, words.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>")
    tokenizer.save_pretrained(folder / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=23,
        num_attention_heads=8,
        max_position_embeddings=77,
        hidden_act="gelu",
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=1,
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")


def photos(folder: Path, count: int) -> None:
    from PIL import Image
    from sklearn.datasets import load_sample_images

    samples = [Image.fromarray(image) for image in load_sample_images().images]
    draw = np.random.default_rng(0)
    for number in range(count):
        sample, crop = samples[number % 2], draw.uniform(0.6, 1.0)
        left, top = (draw.uniform(0, (1 - crop) * side) for side in sample.size)
        box = (left, top, left + crop * sample.width, top + crop * sample.height)
        image = sample.resize((683, 512), Image.Resampling.BICUBIC, box=box)
        image.save(folder / f"{number:05}.jpg", quality=95)


def ours(catalog_uri: Path, model: Path, length: int) -> float:
    """Seconds of encode's three stages, their networks loaded."""
    from commoncanvas.catalog import Catalog
    from commoncanvas.encoding.stages import LatentStage, TextStage

    config = settings()
    catalog = Catalog.open(catalog_uri)
    seconds = 0.0
    for stage in (
        LatentStage(str(model), 256, config),
        LatentStage(str(model), 512, config),
        TextStage(str(model), length, ["title"], config),
    ):
        stage.setup()
        began = time.perf_counter()
        catalog.backfill(stage)
        seconds += time.perf_counter() - began
        catalog.drop_columns([field.name for field in stage.writes])
    return seconds


def bare(files: list[Path], model: Path, size: int) -> tuple[float, float]:
    """Seconds of the VAE alone, on tensors that are there, and of the stage over a catalog of the same images."""
    import torch

    from commoncanvas.encoding.crops import Size, crop
    from commoncanvas.encoding.stages import LatentStage
    from commoncanvas.images.image import decode
    from commoncanvas.models.devices import DTYPES
    from commoncanvas.models.vae import to_pixels

    stage = LatentStage(str(model), size, settings())
    stage.setup()
    images = np.stack([crop(decode(path.read_bytes()), Size(size, size))[0] for path in files])
    pixels = to_pixels(torch.from_numpy(images)).to(DTYPES[precision()], memory_format=torch.channels_last)
    with torch.no_grad():
        stage.network.encode(pixels[:BATCH])
        began = time.perf_counter()
        for start in range(0, len(pixels), BATCH):
            stage.network.encode(pixels[start : start + BATCH]).latent_dist.mode()
        alone = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        catalog = make_catalog(Path(folder, "c.lance"), files)
        began = time.perf_counter()
        catalog.backfill(stage)
        return alone, time.perf_counter() - began


def settings() -> Any:
    from commoncanvas.config import EncodeConfig

    return EncodeConfig(precision=precision(), batch_size=BATCH)


def precision() -> Any:
    import torch

    from commoncanvas.models.devices import precision_on

    return precision_on(torch.device("cpu"), "auto")


def make_catalog(uri: Path, files: list[Path]) -> Any:
    from commoncanvas.catalog import Catalog
    from commoncanvas.table.schema import to_batch

    catalog = Catalog.create(uri)
    rows = [
        {
            "image_id": f"web:{path.stem}",
            "source": "web",
            "title": f"a photo of {path.stem}",
            "image": path.read_bytes(),
            "fetch_status": "ok",
        }
        for path in files
    ]
    catalog.add([to_batch(rows)])
    return catalog


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    temporary = Path(tempfile.gettempdir())
    parser.add_argument("--peer-venv", type=Path, default=temporary / "commoncanvas-streaming")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=8, help="the peer's DataLoader's")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    python = peer_venv(options.peer_venv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "jpg").mkdir()
        photos(folder / "jpg", options.images)
        files = sorted((folder / "jpg").glob("*.jpg"))
        make_model(folder / "model")
        make_catalog(folder / "c.lance", files)
        run(python, MDS, folder / "jpg", folder / "mds")
        seconds: dict[str, list[float]] = {"ours": [], "ours, 32 tokens": [], "peer": []}
        shares = []
        for number in range(options.rounds):
            alone, staged = bare(files, folder / "model", 256)
            shares.append(alone / staged)
            seconds["ours"].append(ours(folder / "c.lance", folder / "model", 77))
            seconds["ours, 32 tokens"].append(ours(folder / "c.lance", folder / "model", 32))
            out = folder / f"out{number}"
            words = (folder / "mds", folder / "model", out, options.workers, precision())
            done = run(python, PEER, *words)
            seconds["peer"].append(json.loads(done)["seconds"])
    print(
        f"encode at 256 pixels, of the bare VAE's images/s: {statistics.median(shares):.1%} (median of {shares})"
    )
    rates = {name: options.images / statistics.median(found) for name, found in seconds.items()}
    for name, found in seconds.items():
        each = ", ".join(f"{options.images / one:.3f}" for one in found)
        print(f"{name:>16}: median {rates[name]:.3f} images/s of {each}")
    first, second = (rates[name] / rates["peer"] for name in ("ours", "ours, 32 tokens"))
    print(f"           ratio: {first:.2f}; with 32 tokens {second:.2f}")


def run(python: Path, code: str, *arguments: object) -> str:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "child.py")  # a file: workers import it once more
        script.write_text(code)
        command = [str(python), str(script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


if __name__ == "__main__":
    main()
