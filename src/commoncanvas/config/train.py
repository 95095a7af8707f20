"""Settings of the training loop."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from commoncanvas.config.schema import Beta, Schema


class TrainConfig(Schema):
    """The training loop. It is the same for every task."""

    steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: float = Field(gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: NonNegativeInt = 0
    schedule: Literal["constant", "cosine", "trapezoid"] = Field(
        "constant",
        description="the learning rate after the warm-up. constant; cosine: a cosine down to zero; trapezoid: "
        "constant, then a straight line down to zero, see `cooldown`",
    )
    cooldown: float = Field(
        0.5, gt=0, le=1, description="share of the steps, at the end, in which a trapezoid goes down"
    )
    grad_clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: no clipping")
    micro_batch: PositiveInt | None = Field(
        None, description="samples computed at once; gradients add up over the batch; null: the whole batch"
    )
    activation_checkpointing: bool = Field(
        default=False, description="compute blocks again in the backward pass, to save memory"
    )
    ema_decay: float | None = Field(None, gt=0, lt=1)
    ema_start: NonNegativeInt = Field(0, description="steps before the average of the weights begins")
    ema_every: PositiveInt = Field(
        1,
        description="steps between updates of the average, which use ema_decay to this power; more cost less",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto",
        description="bf16: autocast, with weights in fp32; auto: bf16 if the device supports it natively, else fp32",
    )
    low_precision_norms: bool = Field(
        default=False,
        description="compute group and layer norms in bf16; autocast alone computes them in fp32",
    )
    attention: Literal["auto", "sdpa", "plain"] = Field(
        "auto",
        description="sdpa: torch's fused attention, with the fastest kernel; plain: separate matrix products, faster "
        "on CPUs; auto: by the device",
    )
    channels_last: bool | Literal["auto"] = Field(
        "auto",
        description="memory format of the weights: convolutions are faster on GPUs, norms are slower on CPUs; not for "
        "sharded weights; auto: by the device",
    )
    fused_adamw: bool = True
    compile: bool = Field(
        default=False,
        description="use torch.compile (with sharding, block by block); on a CPU it needs a C++ compiler",
    )
    device: str = "auto"
    sharding: Literal["none", "full", "hybrid"] = Field(
        "none",
        description="how torchrun's processes share weights, gradients and optimizer state. none: each has all (DDP); "
        "full: all share one copy (FSDP2); hybrid: each group of `shard_ranks` shares one copy",
    )
    shard_ranks: PositiveInt | None = Field(
        None, description="processes of a group with hybrid sharding; null: the processes of one machine"
    )
    reshard_after_forward: bool = Field(
        default=True,
        description="with sharding, gather a block's weights again for the backward pass, to save memory",
    )
    checkpoints: str | None = Field(
        None,
        description="folder of this run's checkpoints, which all machines can reach, also in an object store "
        "(s3://...); null: in the run's folder",
    )
    checkpoint_every: PositiveInt = 500
    keep_checkpoints: PositiveInt = 2
    log_every: PositiveInt = 10
    trackers: list[Literal["wandb", "mlflow", "trackio"]] = Field(
        [], description="experiment trackers that get the log's values, in addition to TensorBoard"
    )
    sample_every: PositiveInt | None = None
    validate_every: PositiveInt | None = Field(
        None, description="steps between losses of held-out rows, with the same noise each time"
    )
    validate_rows: PositiveInt = 256
    most_skipped: NonNegativeInt = Field(
        10,
        description="steps in a row that may be skipped for a loss or gradient that is not finite; one more stops it",
    )

    @model_validator(mode="after")
    def _average_begins(self) -> Self:
        if self.ema_start >= self.steps:
            raise ValueError(f"ema_start {self.ema_start} must be less than steps {self.steps}")
        return self
