"""Small models with random weights, of transformers' and diffusers' own classes, on disk as the hub has them."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    ElectraConfig,
    ElectraModel,
    Gemma2Config,
    Gemma2Model,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from tests.captioning.models import tokenizer


def vae(channels: int = 4, **options: object) -> AutoencoderKL:
    """An autoencoder of SD's shape: three halvings, a quarter of a million weights at most."""
    torch.manual_seed(3)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[8, 8, 16, 16],
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=4,
        **options,
    ).eval()


def deep_vae() -> AutoencoderDC:
    """DC-AE's class, 32 pixels to a cell."""
    torch.manual_seed(4)
    return AutoencoderDC(
        latent_channels=8,
        attention_head_dim=4,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=(4, 4, 8, 8, 8, 8),
        decoder_block_out_channels=(4, 4, 8, 8, 8, 8),
        encoder_layers_per_block=(1, 1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1, 1),
        encoder_qkv_multiscales=((), (), (), (), (), ()),
        decoder_qkv_multiscales=((), (), (), (), (), ()),
        scaling_factor=0.41407,
    ).eval()


def words(side: str = "right") -> PreTrainedTokenizerFast:
    """One with `</s>` at the end of a text, as T5's and CLIP's have it."""
    made = tokenizer()
    made.padding_side = side
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", made.eos_token_id)]
    )
    return made


def clip_config(width: int, layers: int, activation: str = "gelu") -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(words()),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=32,
        projection_dim=24,
        hidden_act=activation,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def sd2(folder: Path, layers: int = 3) -> str:
    """A pipeline like SD2's: OpenCLIP's text model less its last layer, an AutoencoderKL."""
    torch.manual_seed(5)
    StableDiffusionPipeline(
        vae=vae(scaling_factor=0.18215),
        text_encoder=CLIPTextModel(clip_config(32, layers)).eval(),
        tokenizer=words(),
        unet=unet(32),
        scheduler=EulerDiscreteScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return str(folder)


def sdxl(folder: Path) -> str:
    """A pipeline like SDXL's: a pair of text encoders, the second with a projection."""
    torch.manual_seed(6)
    StableDiffusionXLPipeline(
        vae=vae(scaling_factor=0.13025, force_upcast=False),
        text_encoder=CLIPTextModel(clip_config(32, 3, "quick_gelu")).eval(),
        text_encoder_2=CLIPTextModelWithProjection(clip_config(40, 3)).eval(),
        tokenizer=words(),
        tokenizer_2=words(),
        unet=unet(
            72,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=72,
        ),
        scheduler=EulerDiscreteScheduler(),
    ).save_pretrained(folder)
    return str(folder)


def unet(width: int, **options: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=4,
        block_out_channels=[8, 8],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=width,
        **options,
    )


def t5(folder: Path) -> str:
    torch.manual_seed(7)
    config = T5Config(
        vocab_size=len(words()),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        pad_token_id=0,
        eos_token_id=2,
    )
    T5EncoderModel(config).eval().save_pretrained(folder)
    words().save_pretrained(folder)
    return str(folder)


def electra(folder: Path) -> str:
    """An encoder that looks both ways, and sees padding unless it is hidden from it."""
    torch.manual_seed(9)
    config = ElectraConfig(
        vocab_size=len(words()),
        embedding_size=16,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=0,
    )
    ElectraModel(config).eval().save_pretrained(folder)
    words().save_pretrained(folder)
    return str(folder)


def gemma(folder: Path) -> str:
    """A decoder as text encoder, as Sana uses one; its tokenizer pads on the left, as Gemma's does."""
    torch.manual_seed(8)
    config = Gemma2Config(
        vocab_size=len(words()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    Gemma2Model(config).eval().save_pretrained(folder)
    words("left").save_pretrained(folder)
    return str(folder)
