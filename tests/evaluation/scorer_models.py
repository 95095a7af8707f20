"""Small CLIP, OWLv2, Grounding DINO and HPSv2 models with random weights, on disk as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertTokenizerFast,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    SwinConfig,
)

from tests.captioning.models import loud, tokenizer

ANSWERS = ("Yes", "No", "yes", "four", "4")
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ["a", "photo", "of", "dog", "cat", "bench", "red", "green", "car", ".", "bird"]


def marked() -> Any:
    """A tokenizer that marks begin and end, as CLIP's does: its text embedding is the state of the end mark."""
    words = tokenizer()
    marks = [("<s>", 1), ("</s>", 2)]
    words.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    words.padding_side = "right"
    return words


def clip(folder: Path) -> str:
    words = marked()
    torch.manual_seed(3)
    config = CLIPConfig(
        text_config={
            **SMALL,
            "vocab_size": len(words),
            "max_position_embeddings": 77,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={**SMALL, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    loud(CLIPModel(config)).save_pretrained(folder)
    words.model_max_length = 77
    pixels = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(pixels, words).save_pretrained(folder)
    return str(folder)


def owlv2(folder: Path) -> str:
    words = marked()
    torch.manual_seed(4)
    config = Owlv2Config(
        text_config={
            **SMALL,
            "vocab_size": len(words),
            "max_position_embeddings": 48,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={**SMALL, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )
    network = Owlv2ForObjectDetection(config)
    with torch.no_grad():
        for head in (network.box_head, network.class_head):  # so that boxes and scores differ between images
            for weight in head.parameters():
                weight.mul_(0.1)
    network.save_pretrained(folder)
    words.model_max_length = 48
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 64, "width": 64}), words).save_pretrained(folder)
    return str(folder)


def grounding_dino(folder: Path) -> str:
    torch.manual_seed(5)
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "?"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    words = BertTokenizerFast(str(folder / "vocab.txt"))
    backbone = SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=4,
        out_indices=[2, 3, 4],
    )
    text = BertConfig(**SMALL, vocab_size=len(vocabulary))
    config = GroundingDinoConfig(
        backbone_config=backbone.to_dict(),
        text_config=text.to_dict(),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=20,
        max_text_len=32,
    )
    GroundingDinoForObjectDetection(config).eval().save_pretrained(folder)
    pixels = GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 192})
    GroundingDinoProcessor(pixels, words).save_pretrained(folder)
    return str(folder)


HPS: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""A small architecture for HPSv2's weights."""


def hpsv2(file: Path) -> str:
    """Weights as the authors save them: all in `state_dict`."""
    import open_clip

    torch.manual_seed(6)
    network: Any = open_clip.CLIP(**HPS)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": network.state_dict(), "iteration": 4000}, file)
    return str(file)


def open_clip_folder(folder: Path) -> str:
    """A CLIP as open_clip saves its models, which reads 16 tokens."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(7)
    config = HPS | {"text_cfg": {**HPS["text_cfg"], "context_length": 16}}
    half = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    folder.mkdir(parents=True, exist_ok=True)
    written = json.dumps({"model_cfg": config, "preprocess_cfg": half})
    (folder / "open_clip_config.json").write_text(written, encoding="utf-8")
    weights = {name: weight.contiguous() for name, weight in open_clip.CLIP(**config).state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return str(folder)
