"""Which rows of which catalogs a run sees, and in what order they are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from commoncanvas.config.schema import Schema, Share


class ShuffleConfig(Schema):
    """A shuffle that reads ranges of rows. It is for object stores, where requests cost more than bytes."""

    block: PositiveInt = Field(description="neighbouring rows that are read in one range")
    buffer: PositiveInt = Field(
        description="rows from random blocks that are shuffled together; memory holds twice as many"
    )

    @model_validator(mode="after")
    def _holds_blocks(self) -> Self:
        if self.buffer < self.block:
            raise ValueError(f"a buffer of {self.buffer} rows can't hold a block of {self.block}")
        return self


Version = Annotated[
    int | str | None,
    Field(
        description="table version or tag to pin; null: the newest at the start of the run. The tag of a saved filter "
        "selects the rows that existed when it was saved and match it, with their newest values"
    ),
]
Filter = Annotated[
    str | None, Field(description="SQL over the catalog's columns, or the name of a saved filter")
]


class CatalogConfig(Schema):
    """Rows of one catalog. `tag` is another name for `version`."""

    catalog: str
    version: Version = None
    filter: Filter = None
    share: Share = Field(default=1.0, description="share of each batch's rows, relative to the other shares")

    @model_validator(mode="before")
    @classmethod
    def _tag_is_a_version(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or fields.get("tag") is None:
            return fields
        if fields.get("version") is not None:
            raise ValueError("version and tag both name the version; give one")
        return {name: value for name, value in fields.items() if name != "tag"} | {"version": fields["tag"]}


MAIN = "main"
"""The name of a recipe's catalog if it gives only one, as `catalog`."""
SHORT = ("catalog", "version", "tag", "filter")
"""Fields of `data` that a recipe with one catalog may write there, instead of in `catalogs.main`."""


def in_full(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of `data` with those of SHORT moved into `catalogs.main`. Raises ValueError."""
    short = {name: data[name] for name in SHORT if name in data}
    if not short:
        return data
    catalogs = data.get("catalogs") or {}
    if others := set(catalogs) - {MAIN}:
        raise ValueError(
            f"{next(iter(short))} is for a recipe with one catalog; this one has several, so set it for each, as in "
            f"--data.catalogs.{min(map(str, others))}.{next(iter(short))}"
        )
    rest = {name: value for name, value in data.items() if name not in SHORT}
    return rest | {"catalogs": {MAIN: (catalogs.get(MAIN) or {}) | short}}


class DataConfig(Schema):
    """Which rows of which catalogs a run sees. `catalog`, `version` (or `tag`) and `filter` may stand here directly:
    they are those of `catalogs.main`.
    """

    catalogs: Annotated[dict[str, CatalogConfig], Field(min_length=1)] = Field(
        description="catalogs by name, or parts of one catalog by their filters. Each batch takes rows from each by "
        "its share, whatever its size; an image in several belongs to the first",
    )
    policy: Literal["commercial", "noncommercial"] = "noncommercial"
    allow_no_derivatives: bool = False
    text: Annotated[list[str], Field(min_length=1)] | Annotated[dict[str, Share], Field(min_length=1)] = (
        Field(
            ["label", "caption"],
            description="text columns; the first that is set is used. Or a mapping of columns to shares: training "
            "draws one of the columns that are set, anew for each image and epoch",
        )
    )
    heldout_text: list[str] | None = Field(
        None, description="text columns of held-out prompts; null: the same as text"
    )
    heldout_fraction: float = Field(
        0.0, ge=0, lt=1, description="share of the images that is held out, chosen by hash of image_id"
    )
    heldout_by: str | None = Field(
        None,
        description="SQL expression, such as creator: images with the same value are held out together, and only one "
        "of them is a held-out prompt; null, or an expression that is null: each image by itself",
    )
    fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the other images to train on, by hash of image_id; a larger share contains a smaller one",
    )
    fraction_seed: NonNegativeInt = Field(0, description="seed of the choice of these images")
    shuffle: ShuffleConfig | None = Field(
        None, description="block and buffer of a shuffle that reads ranges; null: read single rows, for disks"
    )

    def pinned(self, versions: Mapping[str, int], filters: Mapping[str, str | None]) -> Self:
        """A copy with these versions and filters. Both are by the catalogs' names."""
        pinned = {
            name: each.model_copy(update={"version": versions[name], "filter": filters[name]})
            for name, each in self.catalogs.items()
        }
        return self.model_copy(update={"catalogs": pinned})

    @property
    def text_columns(self) -> list[str]:
        return list(self.text)

    @property
    def text_mix(self) -> dict[str, float] | None:
        """Each column's share; None if texts are not drawn."""
        return self.text if isinstance(self.text, dict) else None

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, fields: Any) -> Any:
        return in_full(fields) if isinstance(fields, dict) else fields

    @field_validator("catalogs", mode="before")
    @classmethod
    def _without_null(cls, given: Any) -> Any:
        """Null removes a catalog of the base recipe."""
        if not isinstance(given, dict):
            return given
        for name in map(str, given):
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                raise ValueError(
                    f"name {name!r}: write letters, digits and _, as in --data.catalogs.museum.share 3"
                )
        return {name: each for name, each in given.items() if each is not None}

    @model_validator(mode="after")
    def _one_way_to_read(self) -> Self:
        if self.shuffle and len(self.catalogs) > 1:
            raise ValueError(
                "shuffle reads neighbouring rows, and several catalogs are read by their shares; leave one of them out"
            )
        return self
