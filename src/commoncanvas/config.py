"""Recipes: one validated schema a task, read from YAML, every field settable on the command line as `--a.b value`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from commoncanvas.errors import RecipeError

COLOUR_CELL = 8
"""Side of the squares, pixels, between whose mean colours `AutoencoderRecipe.colour_weight` is."""
Beta = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0)]


class Schema(BaseModel):
    # A float that is not a number would pass every bound.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ShuffleConfig(Schema):
    """Reading in ranges, for object stores, where a request costs more than the bytes that it brings."""

    block: PositiveInt = Field(description="rows beside each other in storage that are read in one range")
    buffer: PositiveInt = Field(
        description="rows of blocks from anywhere that are shuffled together; twice as many are in memory"
    )

    @model_validator(mode="after")
    def _holds_blocks(self) -> Self:
        if self.buffer < self.block:
            raise ValueError(f"a buffer of {self.buffer} rows can't hold a block of {self.block}")
        return self


class DataConfig(Schema):
    """Which rows of which catalog a run sees."""

    catalog: str
    version: int | str | None = Field(
        None,
        description="table version or tag to pin (that of a saved filter: with it); null: the newest at the start",
    )
    policy: Literal["commercial", "noncommercial"] = "noncommercial"
    allow_no_derivatives: bool = False
    filter: str | None = Field(
        None, description="SQL over the catalog's columns, or the name of a saved filter"
    )
    text: Annotated[list[str], Field(min_length=1)] | Annotated[dict[str, Share], Field(min_length=1)] = (
        Field(
            ["label", "caption"],
            description="text columns, the first that is set wins; or a mapping of columns to shares: drawn among "
            "those that are set, for each image and epoch anew",
        )
    )
    heldout_text: list[str] | None = Field(
        None, description="text columns of held-out prompts; null: those of text"
    )
    heldout_fraction: float = Field(
        0.0, ge=0, lt=1, description="share of images never trained on, by hash of image_id"
    )
    fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the other images to train on, by hash of image_id; smaller shares are within larger ones",
    )
    fraction_seed: NonNegativeInt = Field(
        0, description="which images a share is of; another seed, another draw"
    )

    mix: Annotated[dict[str, Share], Field(min_length=1)] | None = Field(
        None,
        description="conditions, SQL or names of saved filters, to shares: a batch has rows of each by its share, "
        "whatever there are of it; a row is of the first that it meets",
    )
    shuffle: ShuffleConfig | None = Field(
        None, description="block and buffer of a shuffle that reads ranges; null: rows one by one, for disks"
    )

    @property
    def text_columns(self) -> list[str]:
        return list(self.text)

    @property
    def text_mix(self) -> dict[str, float] | None:
        """Each column's share, where texts are drawn."""
        return self.text if isinstance(self.text, dict) else None

    @model_validator(mode="after")
    def _one_stream(self) -> Self:
        if self.shuffle and self.mix:
            raise ValueError(
                "shuffle reads rows beside each other, and mix draws each source by its share; leave one of them out"
            )
        return self


class TrainConfig(Schema):
    """The loop: the same for every task."""

    steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: float = Field(gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: NonNegativeInt = 0
    schedule: Literal["constant", "cosine"] = "constant"
    grad_clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: no clipping")
    micro_batch: PositiveInt | None = Field(
        None, description="samples at once, whose gradients add up to the batch's; null: the whole batch"
    )
    activation_checkpointing: bool = Field(
        default=False, description="compute blocks again in the backward pass, for less memory"
    )
    ema_decay: float | None = Field(None, gt=0, lt=1)
    ema_start: NonNegativeInt = Field(0, description="steps before the average of the weights begins")
    precision: Literal["bf16", "fp32"] = "bf16"
    low_precision_norms: bool = Field(
        default=False, description="group and layer norms in bf16, where autocast would go up to fp32"
    )
    attention: Literal["sdpa", "plain"] = Field(
        "sdpa",
        description="torch's fused attention, which takes the fastest kernel there is, or products one by one",
    )
    channels_last: bool = Field(
        default=True,
        description="weights' memory in the order that convolutions are fastest with; not sharded ones'",
    )
    fused_adamw: bool = True
    compile: bool = Field(default=False, description="torch.compile; needs a C++ compiler on a CPU")
    device: str = "auto"
    sharding: Literal["none", "full", "hybrid"] = Field(
        "none",
        description="what the processes of torchrun share out of the weights, gradients and optimiser's state: "
        "nothing (DDP), all over all of them (FSDP2), or all over groups of `shard_ranks` that have a copy each",
    )
    shard_ranks: PositiveInt | None = Field(
        None, description="processes that share one copy with hybrid sharding; null: those of one machine"
    )
    reshard_after_forward: bool = Field(
        default=True,
        description="with sharding, gather a block's weights again for the backward pass, for less memory",
    )
    checkpoints: str | None = Field(
        None,
        description="folder of this run's checkpoints, also in an object store (s3://...), "
        "which all machines can reach; null: within the run's",
    )
    checkpoint_every: PositiveInt = 500
    keep_checkpoints: PositiveInt = 2
    log_every: PositiveInt = 10
    trackers: list[Literal["wandb", "mlflow", "trackio"]] = Field(
        [], description="told what the log is told, besides TensorBoard"
    )
    sample_every: PositiveInt | None = None
    validate_every: PositiveInt | None = Field(
        None, description="steps between losses of held-out rows, on the same noise each time"
    )
    validate_rows: PositiveInt = 256
    most_skipped: NonNegativeInt = Field(
        10,
        description="steps in a row that are skipped for a loss or gradient that is not finite; then it stops",
    )

    @model_validator(mode="after")
    def _average_begins(self) -> Self:
        if self.ema_start >= self.steps:
            raise ValueError(f"ema_start {self.ema_start} is not before the last of {self.steps} steps")
        return self


class RecipeBase(Schema):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    seed: NonNegativeInt = 17
    out: str
    data: DataConfig
    train: TrainConfig

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

    schedule: dict[str, Any] = Field(
        description="configuration of diffusers' DDPMScheduler; prediction_type flow_prediction is flow matching, "
        "which has no betas"
    )
    timesteps: Literal["uniform", "stratified"] = "uniform"
    logit_normal: tuple[float, Share] | None = Field(
        None,
        description="mean and deviation of the timesteps' logit (arXiv 2403.03206); null: all count the same",
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
    options: dict[str, Any] = {}
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
_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="task")])


def load_recipe(recipe: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe at a path, or one that comes with the package (`recipes/xs.yaml` or `xs`), and apply overrides.

    A recipe with a `base`, another recipe's name or path (beside it, if relative), has that one's fields where it has
    none of its own.
    `overrides` are command-line words: `--train.steps 100` or `--train.steps=100`; values are YAML.
    Raises RecipeError, naming the field, for anything that does not fit.
    """
    fields = _read(recipe)
    for path, value in _parse_overrides(overrides):
        _set(fields, path, value)
    return validate_recipe(fields, where=f"recipe {recipe}")


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Command-line words -> recipes, and the words of overrides among them."""
    recipes: list[str] = []
    overrides: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            recipes.append(word)
            continue
        overrides.append(word)
        if "=" not in word and (value := next(rest, None)) is not None:
            overrides.append(value)
    return recipes, overrides


def validate_recipe(fields: dict[str, Any], where: str) -> Recipe:
    """The recipe that `fields` describe; RecipeError names `where` and every field that is wrong."""
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError as error:
        raise RecipeError(
            f"{where}: " + "; ".join(_explain(problem) for problem in error.errors())
        ) from error


def _read(recipe: str, among: Path = Path(), over: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a recipe, its bases' among them; `over`: the recipes that it is a base of."""
    where, text = _find(recipe, among)
    if where in over:
        raise RecipeError(f"recipe {recipe} is its own base, by way of {' and '.join(over)}")
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {recipe} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict):
        raise RecipeError(f"recipe {recipe} must be a mapping of fields, see recipes/ for examples")
    base = fields.pop("base", None)
    if base is None:
        return fields
    if not isinstance(base, str):
        raise RecipeError(f"recipe {recipe}: base: {base!r} is not the name or path of a recipe")
    return _merged(_read(base, Path(where).parent, (*over, where)), fields)


def _merged(base: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(base[name], value)
        if isinstance(value, dict) and isinstance(base.get(name), dict)
        else value
        for name, value in fields.items()
    }
    return base | both


def _find(recipe: str, among: Path) -> tuple[str, str]:
    """Where a recipe lies, which is its name if it comes with the package, and its text."""
    path = among / recipe
    if path.is_file():
        return str(path), path.read_text(encoding="utf-8")
    shipped = resources.files("commoncanvas") / "recipes"
    names = sorted(Path(entry.name).stem for entry in shipped.iterdir() if entry.name.endswith(".yaml"))
    path = Path(recipe)
    if path.stem in names and path.parent.name in ("", "recipes"):
        return path.stem, (shipped / f"{path.stem}.yaml").read_text(encoding="utf-8")
    raise RecipeError(
        f"recipe {recipe} does not exist; give a YAML file, or one that comes along: {', '.join(names)}"
    )


def _parse_overrides(words: Sequence[str]) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or len(word) == 2:
            raise RecipeError(f"unexpected argument {word!r}; recipe fields are set as --a.b value")
        path, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise RecipeError(f"--{path} needs a value")
            value = rest.pop(0)
        try:
            pairs.append((path.replace("-", "_"), yaml.safe_load(value)))
        except yaml.YAMLError as error:
            raise RecipeError(f"--{path}: {value!r} is not a YAML value; quote it") from error
    return pairs


def _set(fields: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        fields = fields.setdefault(parent, {})
        if not isinstance(fields, dict):
            raise RecipeError(f"--{path}: {parent} is a single value and has no fields")
    fields[last] = value


def _explain(problem: Any) -> str:
    # The first location is the discriminator's tag, which the user never wrote.
    tags = {"captioner", "autoencoder", "diffusion"}
    path = [str(part) for part in problem["loc"] if part not in tags]
    if problem["type"] == "extra_forbidden":
        return f"there is no field {'.'.join(path)}{_suggest(path)}"
    if problem["type"].startswith("union_tag"):
        return f"task must be one of {', '.join(sorted(tags))}"
    message = problem["msg"].removeprefix("Value error, ")
    field = f"{'.'.join(path)}: " if path else ""
    return f"{field}{message[0].lower()}{message[1:]}"


def _suggest(path: list[str]) -> str:
    known: set[str] = set()
    for model in (
        CaptionerRecipe,
        AutoencoderRecipe,
        DiffusionRecipe,
        DataConfig,
        ShuffleConfig,
        TrainConfig,
        EncodeConfig,
        NoiseConfig,
        AlignmentConfig,
        SampleConfig,
    ):
        known.update(model.model_fields)
    close = difflib.get_close_matches(path[-1], sorted(known), n=1)
    return f"; did you mean {'.'.join([*path[:-1], close[0]])}?" if close else ""
