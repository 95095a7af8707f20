"""A recipe a task: its rows, its network and objective, its training."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, PrivateAttr, field_validator, model_validator

from commoncanvas.config.data import DataConfig
from commoncanvas.config.schema import Schema, Share
from commoncanvas.config.train import TrainConfig

FROM_INIT = "from-init"
POOLED = "text_time"
"""diffusers' `addition_embed_type` of SDXL: the pooled state, and `Crop`'s six numbers, steer every block."""
COLOUR_CELL = 8
"""Side of the squares, pixels, between whose mean colours `AutoencoderRecipe.colour_weight` is."""


class RecipeBase(Schema):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    seed: NonNegativeInt = 17
    out: str
    data: DataConfig
    train: TrainConfig
    _words: tuple[str, ...] = PrivateAttr(())

    def __eq__(self, other: object) -> bool:
        """By their fields, whatever they were read from."""
        return type(other) is type(self) and self.__dict__ == other.__dict__

    def command(self, verb: str, *more: str) -> str:
        """The command line that does `verb` with this recipe, for messages that say what to do next."""
        return shlex.join(["commoncanvas", verb, *(self._words or (f"{self.name}.yaml",)), *more])

    @field_validator("out")
    @classmethod
    def _names_a_folder(cls, out: str) -> str:
        if Path(out).name in ("", ".."):
            raise ValueError(f"{out!r} is not the name of a folder to make, such as runs/first")
        return out


class EncodeConfig(Schema):
    """How the frozen networks run ahead of training, and what is kept of what they say."""

    precision: Literal["fp32", "bf16"] = "fp32"
    storage: Literal["fp16", "fp8"] = Field(
        default="fp16", description="fp8: e4m3, with a scale a row; half the bytes"
    )
    batch_size: PositiveInt = Field(
        default=32, description="images or texts at once; halved when memory runs out"
    )
    posterior: Literal["mean", "mean_std"] = Field(
        default="mean", description="mean_std keeps the deviation too, and training draws from it"
    )
    flipped: bool = Field(
        default=False, description="latents of each image's mirror image too; training draws which"
    )
    buckets: PositiveInt | None = Field(
        default=None,
        description="aspect ratios of about size x size pixels, sides in steps of so many, one a batch; null: squares",
    )


class CaptionerRecipe(RecipeBase):
    """Learn to write short captions from frozen image features and human labels."""

    task: Literal["captioner"]
    feature_grid: PositiveInt = Field(
        7, le=7, description="image features are pooled to this many cells a side"
    )
    width: PositiveInt = 256
    layers: PositiveInt = 3
    heads: PositiveInt = 4
    dropout: float = Field(0.1, ge=0, lt=1)
    max_tokens: int = Field(12, ge=3, description="word pieces of a caption, its start and end among them")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class AutoencoderRecipe(RecipeBase):
    """Train an `AutoencoderKL` to reconstruct the catalog's images."""

    task: Literal["autoencoder"]
    size: PositiveInt = Field(description="side of the square training images, pixels")
    vae: dict[str, Any] = Field(description="configuration of diffusers' AutoencoderKL")
    l1_weight: float = Field(1.0, ge=0)
    mse_weight: float = Field(0.0, ge=0)
    colour_weight: float = Field(0.0, ge=0, description="L1 between averages over 8x8 pixels")
    kl_weight: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _large_enough_for_colour(self) -> Self:
        if self.colour_weight and self.size < COLOUR_CELL:
            raise ValueError(f"colour_weight needs a size of at least {COLOUR_CELL} pixels, not {self.size}")
        return self


class NoiseConfig(Schema):
    """How noise is mixed in, and the objective; see `diffusion.objective` for the formulas."""

    schedule: dict[str, Any] | Literal["from-init"] = Field(
        description="configuration of diffusers' DDPMScheduler; prediction_type flow_prediction is flow matching, "
        "which has no betas; from-init: that of init's pipeline"
    )
    timesteps: Literal["uniform", "stratified"] = "uniform"
    logit_normal: tuple[float, Share] | None = Field(
        None,
        description="mean and deviation of the timesteps' logit (arXiv 2403.03206); null: all count the same",
    )
    logit_normal_end: float | None = Field(
        None,
        description="the mean at the last step, from that of logit_normal at the first in a straight line: from more "
        "noise to less is from easy to hard (arXiv 2403.10348); null: it stays",
    )
    min_snr_gamma: float | None = Field(
        None, gt=0, description="min-SNR-gamma loss weights (arXiv 2303.09556)"
    )
    sigma_weights: Literal["sqrt", "cosmap"] | None = Field(
        None, description="loss weights by the share of noise (arXiv 2403.03206)"
    )

    @model_validator(mode="after")
    def _weighs_once(self) -> Self:
        if self.min_snr_gamma and self.sigma_weights:
            raise ValueError("min_snr_gamma and sigma_weights are two ways to weigh the loss; give one")
        return self

    @model_validator(mode="after")
    def _can_be_sampled(self) -> Self:
        schedule = self.schedule
        if not isinstance(schedule, dict):
            return self
        if schedule.get("rescale_betas_zero_snr") and schedule.get("prediction_type", "epsilon") == "epsilon":
            raise ValueError(
                "schedule.rescale_betas_zero_snr ends in noise alone, of which epsilon says nothing; give "
                "prediction_type v_prediction, and timestep_spacing trailing to begin sampling there (arXiv 2305.08891)"
            )
        return self

    @model_validator(mode="after")
    def _begins_somewhere(self) -> Self:
        if self.logit_normal_end is not None and not self.logit_normal:
            raise ValueError("logit_normal_end is where the mean of logit_normal goes; give that too")
        return self


class AlignmentConfig(Schema):
    """Representation alignment (REPA, arXiv 2410.06940); see `training.alignment`."""

    column: str = Field(
        description="column of image features, a map a row, such as efficientnet_lite0_7; rows without add nothing"
    )
    block: str = Field(
        description="module of the network whose output is aligned, such as mid_block or transformer_blocks.3"
    )
    weight: float = Field(0.5, gt=0, description="of 1 - cosine, beside the denoising loss")
    width: PositiveInt = Field(2048, description="of the projector's hidden layers")


class SampleConfig(Schema):
    """How the exported model samples by default."""

    scheduler: str = Field(description="a diffusers scheduler class that the pipeline takes")
    options: dict[str, Any] = Field({})
    guidance_scale: float = Field(ge=1)
    steps: PositiveInt
    prompts: list[str] = Field([], description="drawn every train.sample_every steps")


class DiffusionRecipe(RecipeBase):
    """Train a text-conditional U-Net or transformer on latents and text states computed ahead of time."""

    task: Literal["diffusion"]
    size: PositiveInt = Field(description="side of the square images, pixels")
    vae: str = Field(description="folder or hub id of a diffusers AutoencoderKL")
    text_encoder: str = Field(description="folder or hub id of the text encoder, or minilm")
    text_length: PositiveInt = 77
    text_skip: NonNegativeInt = Field(
        0,
        description="last layers of a CLIP encoder to leave out; SD2's own text_encoder has lost its one already",
    )
    encode: EncodeConfig = EncodeConfig()
    init: str | None = Field(
        None,
        description="folder or hub id of a diffusers pipeline, or its network, to start from; null: random weights",
    )
    unet: dict[str, Any] = Field({}, description="configuration of diffusers' UNet2DConditionModel")
    transformer: dict[str, Any] = Field(
        {},
        description="configuration of diffusers' PixArtTransformer2DModel, in place of unet",
    )
    masked_patches: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a transformer's patches that training leaves out (MicroDiT, arXiv 2407.15811)",
    )
    patch_mixer: NonNegativeInt = Field(
        0, description="first blocks of a transformer, which see all patches in training too"
    )
    noise: NoiseConfig
    caption_dropout: float = Field(0.1, ge=0, lt=1)
    alignment: AlignmentConfig | None = Field(
        None,
        description="draw hidden states towards image features, in training; null: the denoising loss alone",
    )
    sample: SampleConfig

    @property
    def pipeline(self) -> str:
        """diffusers' class of the pipeline that training exports."""
        if self.transformer:
            return "PixArtAlphaPipeline"
        pooled = self.unet.get("addition_embed_type") == POOLED
        return "StableDiffusionXLPipeline" if pooled else "StableDiffusionPipeline"

    @property
    def prompts(self) -> Literal["plain", "pixart"]:
        """What the pipeline around the network makes of a prompt, and so `encode` of a text: see `latents.text`."""
        return "pixart" if self.transformer else "plain"

    @field_validator("unet", "transformer", mode="before")
    @classmethod
    def _unset(cls, given: Any) -> Any:
        """A recipe takes its base's network away with null."""
        return {} if given is None else given

    @model_validator(mode="after")
    def _has_one_network(self) -> Self:
        if bool(self.unet) == bool(self.transformer):
            raise ValueError("give one network, unet or transformer; null takes away a base's")
        if self.masked_patches and not self.transformer:
            raise ValueError("masked_patches are a transformer's; a unet has no patches to leave out")
        if self.transformer and self.encode.buckets:
            raise ValueError("transformer takes squares only; leave encode.buckets out")
        if self.encode.buckets and self.encode.buckets > self.size:
            raise ValueError(
                f"encode.buckets {self.encode.buckets} is more than size {self.size}; make it less"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_batch(self) -> Self:
        if self.data.shuffle and self.encode.buckets:
            raise ValueError(
                "data.shuffle reads rows beside each other, and encode.buckets puts rows of one aspect ratio into a "
                "batch; leave one of them out"
            )
        if self.train.compile and self.encode.buckets:
            raise ValueError(
                "train.compile makes code for one shape, and fails at the second one that encode.buckets brings; leave "
                "one of them out"
            )
        return self

    @model_validator(mode="after")
    def _features_show_the_same_square(self) -> Self:
        if self.alignment and self.encode.buckets:
            raise ValueError(
                "alignment is with features of the image's middle square, and encode.buckets keeps more of it; "
                "give one"
            )
        return self


Recipe = CaptionerRecipe | AutoencoderRecipe | DiffusionRecipe
