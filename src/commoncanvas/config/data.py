"""Which rows of which catalog a run sees, and in what order they are read."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from commoncanvas.config.schema import Schema, Share


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
