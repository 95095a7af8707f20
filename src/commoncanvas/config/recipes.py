"""One recipe class for each task: its rows, network, objective and training."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, PrivateAttr, field_validator, model_validator

from commoncanvas.config.data import DataConfig
from commoncanvas.config.schema import Schema, Share
from commoncanvas.config.train import TrainConfig

FROM_INIT = "from-init"
POOLED = "text_time"
"""diffusers' `addition_embed_type` of SDXL: the pooled state and `Crop`'s six numbers condition every block."""
COLOUR_CELL = 8
"""Side in pixels of the squares whose mean colours `AutoencoderRecipe.colour_weight` compares."""


class RecipeBase(Schema):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    seed: NonNegativeInt = 17
    out: str
    data: DataConfig
    train: TrainConfig
    _words: tuple[str, ...] = PrivateAttr(())

    def __eq__(self, other: object) -> bool:
        """Compare the fields, not where they were read from."""
        return type(other) is type(self) and self.__dict__ == other.__dict__

    def command(self, verb: str, *more: str) -> str:
        """The command line of `verb` for this recipe, for messages that suggest it."""
        return shlex.join(["commoncanvas", verb, *(self._words or (f"{self.name}.yaml",)), *more])

    @field_validator("out")
    @classmethod
    def _names_a_folder(cls, out: str) -> str:
        if Path(out).name in ("", ".."):
            raise ValueError(f"{out!r} is not the name of a folder to make, such as runs/first")
        return out


ExportPrecision = Annotated[
    Literal["fp32", "fp16"],
    Field(description="number type of the exported weights; fp16: half the bytes, loaded as fp32 by default"),
]


class EncodeConfig(Schema):
    """How the frozen networks run before training, and how their outputs are stored."""

    precision: Literal["fp32", "bf16"] = "fp32"
    storage: Literal["fp16", "fp8"] = Field(
        default="fp16", description="fp8: e4m3, with a scale for each row; half the bytes"
    )
    batch_size: PositiveInt = Field(
        default=32, description="images or texts at once; halved when memory runs out"
    )
    posterior: Literal["mean", "mean_std"] = Field(
        default="mean", description="mean_std also stores the standard deviation; training samples with both"
    )
    flipped: bool = Field(
        default=False, description="also store the mirrored image's latents; training draws one of the two"
    )
    buckets: PositiveInt | None = Field(
        default=None,
        description="train in buckets of about size x size pixels, with sides in multiples of this; null: squares only",
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
    max_tokens: int = Field(12, ge=3, description="tokens of a caption, with its start and end")

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
    colour_weight: float = Field(0.0, ge=0, description="weight of the L1 between averages over 8x8 pixels")
    kl_weight: float = Field(0.0, ge=0)
    export_precision: ExportPrecision = "fp32"

    @model_validator(mode="after")
    def _large_enough_for_colour(self) -> Self:
        if self.colour_weight and self.size < COLOUR_CELL:
            raise ValueError(f"colour_weight needs a size of at least {COLOUR_CELL} pixels, not {self.size}")
        return self


class NoiseConfig(Schema):
    """How noise is added, and the objective; see `diffusion.objective` for the formulas."""

    schedule: dict[str, Any] | Literal["from-init"] = Field(
        description="configuration of diffusers' DDPMScheduler; prediction_type flow_prediction is flow matching, "
        "which has no betas; from-init: the schedule of init's pipeline"
    )
    timesteps: Literal["uniform", "stratified"] = "uniform"
    logit_normal: tuple[float, Share] | None = Field(
        None,
        description="mean and standard deviation of the timesteps' logit (arXiv 2403.03206); null: all are as likely",
    )
    logit_normal_end: float | None = Field(
        None,
        description="the mean at the last step, reached in a straight line from logit_normal's mean; from more noise "
        "to less is from easy to hard (arXiv 2403.10348); null: the mean is constant",
    )
    min_snr_gamma: float | None = Field(
        None, gt=0, description="min-SNR-gamma loss weights (arXiv 2303.09556)"
    )
    sigma_weights: Literal["sqrt", "cosmap"] | None = Field(
        None, description="loss weights that depend on the share of noise (arXiv 2403.03206)"
    )

    @model_validator(mode="after")
    def _one_loss_weight(self) -> Self:
        if self.min_snr_gamma and self.sigma_weights:
            raise ValueError("min_snr_gamma and sigma_weights both weight the loss; give only one")
        return self

    @model_validator(mode="after")
    def _can_be_sampled(self) -> Self:
        schedule = self.schedule
        if not isinstance(schedule, dict):
            return self
        if schedule.get("rescale_betas_zero_snr") and schedule.get("prediction_type", "epsilon") == "epsilon":
            raise ValueError(
                "schedule.rescale_betas_zero_snr ends in pure noise, where epsilon says nothing about the image; set "
                "prediction_type to v_prediction and timestep_spacing to trailing (arXiv 2305.08891)"
            )
        return self

    @model_validator(mode="after")
    def _end_needs_a_start(self) -> Self:
        if self.logit_normal_end is not None and not self.logit_normal:
            raise ValueError("logit_normal_end needs logit_normal; give it too")
        return self


class AlignmentConfig(Schema):
    """Representation alignment (REPA, arXiv 2410.06940); see `training.alignment`."""

    column: str = Field(
        description="column of image features, such as efficientnet_lite0_7; rows without features are not aligned"
    )
    block: str = Field(
        description="module of the network whose output is aligned, such as mid_block or transformer_blocks.3"
    )
    weight: float = Field(0.5, gt=0, description="weight of 1 - cosine, which is added to the denoising loss")
    width: PositiveInt = Field(2048, description="width of the projector's hidden layers")


class SampleConfig(Schema):
    """How the exported model samples by default."""

    scheduler: str = Field(description="a diffusers scheduler class that the pipeline supports")
    options: dict[str, Any] = Field({})
    guidance_scale: float = Field(ge=1)
    steps: PositiveInt
    prompts: list[str] = Field(
        [], description="prompts of the images that are drawn every train.sample_every steps"
    )


class ValidationConfig(Schema):
    """Held-out prompts that are drawn and measured while the model trains."""

    every: PositiveInt = Field(description="steps between validations; the last step has one too")
    prompts: int = Field(200, ge=2, description="held-out prompts that are drawn, at most")
    seed: NonNegativeInt = Field(0, description="selects the prompts and the noise of their images")
    features: list[str] = Field(
        ["efficientnet-lite0"],
        description="feature networks, as NAME or NAME:FILE; each gives FD, KD and retrieval against the real images",
    )
    scorers: list[str] = Field(
        [],
        description="what scores an image with its prompt, as KIND:MODEL: clip, pickscore, hpsv2, vqa, captioner",
    )

    @model_validator(mode="after")
    def _measures_something(self) -> Self:
        if not self.features and not self.scorers:
            raise ValueError("features and scorers are both empty; give at least one")
        return self


class DiffusionRecipe(RecipeBase):
    """Train a text-conditional U-Net or transformer on latents and text states that `encode` computed."""

    task: Literal["diffusion"]
    size: PositiveInt = Field(description="side of the square images, pixels")
    vae: str = Field(description="folder or hub id of a diffusers AutoencoderKL")
    text_encoder: str = Field(description="folder or hub id of the text encoder, or minilm")
    text_length: PositiveInt = 77
    text_skip: NonNegativeInt = Field(
        0,
        description="how many last layers of a CLIP encoder to skip; SD2's text_encoder already lacks one",
    )
    encode: EncodeConfig = EncodeConfig()
    init: str | None = Field(
        None,
        description="folder or hub id of a diffusers pipeline, or its network, to start from; null: random weights",
    )
    unet: dict[str, Any] = Field({}, description="configuration of diffusers' UNet2DConditionModel")
    transformer: dict[str, Any] = Field(
        {},
        description="configuration of diffusers' PixArtTransformer2DModel, instead of unet",
    )
    masked_patches: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a transformer's patches that training leaves out (MicroDiT, arXiv 2407.15811)",
    )
    patch_mixer: NonNegativeInt = Field(
        0, description="how many first blocks of a transformer see all patches in training too"
    )
    noise: NoiseConfig
    caption_dropout: float = Field(0.1, ge=0, lt=1)
    alignment: AlignmentConfig | None = Field(
        None,
        description="pull hidden states towards image features during training; null: the denoising loss only",
    )
    sample: SampleConfig
    export_precision: ExportPrecision = "fp32"
    validation: ValidationConfig | None = Field(
        None, description="draw and measure held-out prompts during training; null: don't"
    )

    @property
    def pipeline(self) -> str:
        """The diffusers class of the pipeline that training exports."""
        if self.transformer:
            return "PixArtAlphaPipeline"
        pooled = self.unet.get("addition_embed_type") == POOLED
        return "StableDiffusionXLPipeline" if pooled else "StableDiffusionPipeline"

    @property
    def prompts(self) -> Literal["plain", "pixart"]:
        """How the pipeline prepares a prompt. `encode` prepares texts in the same way: see TextEncoder."""
        return "pixart" if self.transformer else "plain"

    @field_validator("unet", "transformer", mode="before")
    @classmethod
    def _without_null(cls, given: Any) -> Any:
        """Null removes the network of the base recipe."""
        return {} if given is None else given

    @model_validator(mode="after")
    def _has_one_network(self) -> Self:
        if bool(self.unet) == bool(self.transformer):
            raise ValueError("give one network, unet or transformer; null removes a base's")
        if self.masked_patches and not self.transformer:
            raise ValueError("masked_patches needs a transformer; a unet has no patches to leave out")
        if self.transformer and self.encode.buckets:
            raise ValueError("a transformer takes squares only; leave encode.buckets out")
        if self.encode.buckets and self.encode.buckets > self.size:
            raise ValueError(
                f"encode.buckets {self.encode.buckets} is larger than size {self.size}; give a smaller one"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_batch(self) -> Self:
        if self.data.shuffle and self.encode.buckets:
            raise ValueError(
                "data.shuffle reads neighbouring rows, and encode.buckets puts rows of one aspect ratio into a batch; "
                "leave one of them out"
            )
        if self.train.compile and self.encode.buckets:
            raise ValueError(
                "train.compile makes code for only one shape, and encode.buckets has several; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _features_show_the_same_square(self) -> Self:
        if self.alignment and self.encode.buckets:
            raise ValueError(
                "alignment reads features of the image's middle square, and encode.buckets keeps more of the image; "
                "leave one of them out"
            )
        return self


Recipe = CaptionerRecipe | AutoencoderRecipe | DiffusionRecipe
