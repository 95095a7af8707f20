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


class _Pinned(Schema):
    """A catalog's version. `tag` is another name for it."""

    version: Version = None

    @model_validator(mode="before")
    @classmethod
    def _tag_is_a_version(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or fields.get("tag") is None:
            return fields
        if fields.get("version") is not None:
            raise ValueError("version and tag both name the version; give one")
        return {name: value for name, value in fields.items() if name != "tag"} | {"version": fields["tag"]}


class CatalogConfig(_Pinned):
    """One of the catalogs that a run sees."""

    catalog: str
    filter: Filter = None
    share: Share = Field(default=1.0, description="share of each batch's rows, relative to the other shares")


class DataConfig(_Pinned):
    """Which rows of which catalogs a run sees."""

    catalog: str | None = None
    catalogs: Annotated[dict[str, CatalogConfig], Field(min_length=1)] | None = Field(
        None,
        description="several catalogs by name, instead of catalog, version and filter. Each batch takes rows from each "
        "by its share, whatever its size; an image in several catalogs belongs to the first",
    )
    policy: Literal["commercial", "noncommercial"] = "noncommercial"
    allow_no_derivatives: bool = False
    filter: Filter = None
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
    fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the other images to train on, by hash of image_id; a larger share contains a smaller one",
    )
    fraction_seed: NonNegativeInt = Field(0, description="seed of the choice of these images")
    mix: Annotated[dict[str, Share], Field(min_length=1)] | None = Field(
        None,
        description="conditions (SQL or names of saved filters) with shares. Each batch takes rows of each by share, "
        "however many there are; a row belongs to the first condition that it meets",
    )
    shuffle: ShuffleConfig | None = Field(
        None, description="block and buffer of a shuffle that reads ranges; null: read single rows, for disks"
    )

    @property
    def each_catalog(self) -> dict[str, CatalogConfig]:
        """The catalogs by name. The name of the one in `catalog` is empty."""
        if self.catalogs is not None:
            return self.catalogs
        assert self.catalog is not None
        return {"": CatalogConfig(catalog=self.catalog, version=self.version, filter=self.filter)}

    @property
    def shares(self) -> list[float] | None:
        """The shares of the catalogs or of `mix`; None if there is only one source."""
        if self.catalogs is not None:
            return [each.share for each in self.catalogs.values()]
        return list(self.mix.values()) if self.mix else None

    def pinned(self, versions: Mapping[str, int], filters: Mapping[str, str | None]) -> Self:
        """A copy with these versions and filters. Both are by the catalogs' names."""
        if self.catalogs is None:
            return self.model_copy(update={"version": versions[""], "filter": filters[""]})
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

    @model_validator(mode="after")
    def _one_way_to_read(self) -> Self:
        if self.shuffle and self.mix:
            raise ValueError(
                "shuffle reads neighbouring rows, and mix draws rows of each source by its share; leave one of them out"
            )
        return self

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
    def _has_catalogs(self) -> Self:
        if (self.catalog is None) == (self.catalogs is None):
            raise ValueError("give either catalog or catalogs, not both")
        if self.catalogs is None:
            return self
        for field in ("version", "filter"):
            if getattr(self, field) is not None:
                raise ValueError(
                    f"{field} belongs to catalog; set it for each of catalogs instead, and remove a base's with null"
                )
        if self.mix or self.shuffle:
            field, reads = (
                ("mix", "mixes rows of one catalog") if self.mix else ("shuffle", "reads neighbouring rows")
            )
            raise ValueError(
                f"{field} {reads}, and catalogs draws rows of each catalog by its share; leave one of them out"
            )
        return self
