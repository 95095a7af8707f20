"""Small models with random weights, of transformers' own classes, on disk as the hub has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    OPTConfig,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    T5Config,
)

from commoncanvas.captioning import CaptionerConfig

WORDS = [
    "a",
    "photo",
    "of",
    "red",
    "green",
    "dog",
    "cat",
    "on",
    "grass",
    "sky",
    "the",
    "with",
    "two",
    "old",
    "tree",
]
CHAT = (
    "{% for message in messages %}user: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %} assistant:{% endif %}"
)


def xs(folder: Path) -> CaptionerConfig:
    """A captioner that `commoncanvas train` wrote."""
    return CaptionerConfig(str(folder), "xs")


def tokenizer(*special: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: every text has tokens, every token a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate(["<pad>", "<s>", "</s>", *special, *alphabet])}
    whole = {f"Ġ{word}": len(vocabulary) + number for number, word in enumerate(WORDS)}
    made = Tokenizer(models.BPE(vocab=vocabulary | whole, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=list(special),
        padding_side="left",
    )


def blip2(folder: Path, t5: bool = False, old: bool = False) -> str:
    """BLIP-2 with OPT, as Salesforce/blip2-opt-2.7b is laid out, or with T5, as Salesforce/blip2-flan-t5-xl is.

    `old`: as before late 2024, without a token for images, and without a word of it in the configuration.
    """
    words = tokenizer() if old else tokenizer("<image>")
    vision = Blip2VisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    former = Blip2QFormerConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        encoder_hidden_size=32,
    )
    text: OPTConfig | T5Config = OPTConfig(
        vocab_size=len(words),
        hidden_size=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        word_embed_proj_dim=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    if t5:
        text = T5Config(
            vocab_size=len(words),
            d_model=32,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=2,
            pad_token_id=0,
            eos_token_id=2,
            decoder_start_token_id=0,
        )
    torch.manual_seed(0)
    config = Blip2Config(
        vision_config=vision.to_dict(),
        qformer_config=former.to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=None if old else words.convert_tokens_to_ids("<image>"),
    )
    network = loud(Blip2ForConditionalGeneration(config))
    network.generation_config.eos_token_id = 2
    network.save_pretrained(folder)
    pixels = BlipImageProcessor(size={"height": 28, "width": 28})
    if old:
        pixels.save_pretrained(folder)
        words.save_pretrained(folder)
    else:
        Blip2Processor(pixels, words, num_query_tokens=4).save_pretrained(folder)
    return str(folder)


def llava(folder: Path, answers: Sequence[str] = ()) -> str:
    """LLaVA: one size for all images, a Llama behind CLIP's vision tower. `answers`: words that are one token each."""
    words = tokenizer("<image>")
    words.add_tokens(list(answers))
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(1)
    config = LlavaConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
    )
    network = loud(LlavaForConditionalGeneration(config))
    network.generation_config.eos_token_id = 2
    network.generation_config.do_sample = True  # as many a checkpoint has it
    network.generation_config.temperature = 0.7
    network.save_pretrained(folder)
    pixels = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    LlavaProcessor(
        pixels,
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE", "<image>"),
    ).save_pretrained(folder)
    return str(folder)


def qwen(folder: Path, answers: Sequence[str] = ()) -> str:
    """Qwen2-VL: as many patches as an image's size asks for. Each of `answers` is one token."""
    special = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    words = tokenizer(*special)
    start, end, image, video = words.convert_tokens_to_ids(list(special))
    words.add_tokens(list(answers))
    torch.manual_seed(2)
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(words),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    network = loud(Qwen2VLForConditionalGeneration(config))
    network.generation_config.eos_token_id = [2, 0]
    network.save_pretrained(folder)
    pixels = Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16})
    Qwen2VLProcessor(
        pixels,
        words,
        Qwen2VLVideoProcessor(),
        chat_template=CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    ).save_pretrained(folder)
    return str(folder)


def loud(network: torch.nn.Module) -> torch.nn.Module:
    """Weights ten times the usual, so that what the image shows reaches what is written."""
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.mul_(10)
    return network.eval()
