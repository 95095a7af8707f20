"""The training loop: the same for every task."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from commoncanvas.config.schema import Beta, Schema


class TrainConfig(Schema):
    """The loop: the same for every task."""

    steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: float = Field(gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: NonNegativeInt = 0
    schedule: Literal["constant", "cosine", "trapezoid"] = Field(
        "constant",
        description="of the learning rate after the warm-up: constant, a cosine down to zero, or constant and then, "
        "for `cooldown`, a straight line down to zero",
    )
    cooldown: float = Field(
        0.5, gt=0, le=1, description="share of the steps, the last, in which a trapezoid goes down"
    )
    grad_clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: no clipping")
    micro_batch: PositiveInt | None = Field(
        None, description="samples at once, whose gradients add up to the batch's; null: the whole batch"
    )
    activation_checkpointing: bool = Field(
        default=False, description="compute blocks again in the backward pass, for less memory"
    )
    ema_decay: float | None = Field(None, gt=0, lt=1)
    ema_start: NonNegativeInt = Field(0, description="steps before the average of the weights begins")
    ema_every: PositiveInt = Field(
        1, description="steps between updates of the average, by ema_decay to their power; more cost less"
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto",
        description="bf16: autocast, the weights in fp32; auto: bf16 where the device multiplies it, else fp32",
    )
    low_precision_norms: bool = Field(
        default=False, description="group and layer norms in bf16, where autocast would go up to fp32"
    )
    attention: Literal["auto", "sdpa", "plain"] = Field(
        "auto",
        description="torch's fused attention, which takes the fastest kernel there is, or products one by one, "
        "faster on CPUs; auto: by the device",
    )
    channels_last: bool | Literal["auto"] = Field(
        "auto",
        description="weights' memory in the order that a GPU's convolutions are fastest with, and a CPU's norms are "
        "not; not sharded ones'; auto: by the device",
    )
    fused_adamw: bool = True
    compile: bool = Field(
        default=False,
        description="torch.compile, with sharding block by block; needs a C++ compiler on a CPU",
    )
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
