"""Which rows of which catalogs a run sees, and in what order they are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

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


Version = Annotated[
    int | str | None,
    Field(
        description="table version or tag to pin; null: the newest at the start. The tag of a saved filter stands for "
        "the rows that it lets in, of those that were there then, as the newest version at the start has them"
    ),
]
Filter = Annotated[
    str | None, Field(description="SQL over the catalog's columns, or the name of a saved filter")
]


class _Pinned(Schema):
    """A catalog's version, which may be given as `tag` too."""

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
    share: Share = Field(default=1.0, description="of each batch's rows, beside the others' shares")


class DataConfig(_Pinned):
    """Which rows of which catalogs a run sees."""

    catalog: str | None = None
    catalogs: Annotated[dict[str, CatalogConfig], Field(min_length=1)] | None = Field(
        None,
        description="in place of catalog, version and filter: several by name, of which each batch has rows by their "
        "shares, whatever there are of each; an image that is in two is of the first",
    )
    policy: Literal["commercial", "noncommercial"] = "noncommercial"
    allow_no_derivatives: bool = False
    filter: Filter = None
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
    def each_catalog(self) -> dict[str, CatalogConfig]:
        """The catalogs by name; that of `catalog` has none."""
        if self.catalogs is not None:
            return self.catalogs
        assert self.catalog is not None
        return {"": CatalogConfig(catalog=self.catalog, version=self.version, filter=self.filter)}

    @property
    def shares(self) -> list[float] | None:
        """Those of the catalogs or of `mix`; None where all rows are of one source."""
        if self.catalogs is not None:
            return [each.share for each in self.catalogs.values()]
        return list(self.mix.values()) if self.mix else None

    def pinned(self, versions: Mapping[str, int], filters: Mapping[str, str | None]) -> Self:
        """The same at `versions` of the catalogs, with `filters`, both by name."""
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
        """Each column's share, where texts are drawn."""
        return self.text if isinstance(self.text, dict) else None

    @model_validator(mode="after")
    def _one_stream(self) -> Self:
        if self.shuffle and self.mix:
            raise ValueError(
                "shuffle reads rows beside each other, and mix draws each source by its share; leave one of them out"
            )
        return self

    @field_validator("catalogs", mode="before")
    @classmethod
    def _without_those_taken_away(cls, given: Any) -> Any:
        """A recipe takes one of its base's catalogs away with null."""
        if not isinstance(given, dict):
            return given
        for name in map(str, given):
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                raise ValueError(
                    f"name {name!r}: write letters, digits and _, as in --data.catalogs.museum.share 3"
                )
        return {name: each for name, each in given.items() if each is not None}

    @model_validator(mode="after")
    def _from_somewhere(self) -> Self:
        if (self.catalog is None) == (self.catalogs is None):
            raise ValueError("give catalog, or several in catalogs; one of the two")
        if self.catalogs is None:
            return self
        for field in ("version", "filter"):
            if getattr(self, field) is not None:
                raise ValueError(
                    f"{field} is that of catalog; give each of catalogs its own, and null takes a base's away"
                )
        if self.mix or self.shuffle:
            field, reads = (
                ("mix", "mixes rows of one catalog")
                if self.mix
                else ("shuffle", "reads rows beside each other")
            )
            raise ValueError(
                f"{field} {reads}, and catalogs draws those of each by its share; leave one of them out"
            )
        return self
