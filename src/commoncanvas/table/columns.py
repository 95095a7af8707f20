"""What a column that a model made is made of, in its field's metadata, and which columns hang on which."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from commoncanvas.core.errors import ModelError

KEY = b"commoncanvas"
"""Metadata that makes a column the one it is."""
FINGERPRINT = "fingerprint"
"""A setting of columns whose rows say themselves of what they were made: the column that says it."""
ABOUT_KEY = b"commoncanvas.about"
"""Metadata that is told of a column; another path to the same weights doesn't make another column."""


@dataclass(frozen=True)
class ColumnInfo:
    """Who made a column, and of what.

    `sources`: each column that it was made of, with the digest of the weights that made that one in its turn (None: no
    model did). `shape`: of one row's value, () for a scalar. `model`: the maker's name or path, as it was given.
    `trained_on`: what the maker learned from (see `provenance.origin`), None if that isn't recorded. `settings`: what
    else decides the values, such as a prompt; JSON values. `revision`: the hub's commit, None for a folder's model.
    `license`: what the maker's model card states, None if nobody looked.
    """

    sha256: str
    sources: tuple[tuple[str, str | None], ...]
    shape: tuple[int, ...]
    model: str
    trained_on: dict[str, Any] | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    revision: str | None = None
    license: str | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        return self.sha256, self.sources, self.shape, json.dumps(self.settings, sort_keys=True)

    @property
    def made_by(self) -> str:
        """Maker, sources and settings in a few words, for messages."""
        sources = ", ".join(name + (f" by {digest[:12]}" if digest else "") for name, digest in self.sources)
        settings = ", ".join(
            f"{name} {value!r}" for name, value in self.settings.items() if name != FINGERPRINT
        )
        return f"{self.model} ({self.sha256[:12]}) from {sources}" + (f" with {settings}" if settings else "")

    def check(self, sha256: str) -> None:
        """Raise ModelError if what was loaded to make the column has another digest."""
        if sha256 != self.sha256:
            raise ModelError(
                f"model {self.model} has other weights on {socket.gethostname()} ({sha256[:12]}) than where the run "
                f"was started ({self.sha256[:12]}); put the same ones there"
            )

    def field(self, name: str, kind: pa.DataType | None = None) -> pa.Field:
        """The field `name`: of type `kind`, by default fp16 values in the column's shape."""
        kind = kind or pa.list_(pa.float16(), int(np.prod(self.shape)))
        identity: dict[str, Any] = {"sha256": self.sha256, "sources": self.sources, "shape": self.shape}
        if self.settings:
            identity["settings"] = self.settings
        about = {
            "model": self.model,
            "trained_on": self.trained_on,
            "revision": self.revision,
            "license": self.license,
        }
        return pa.field(name, kind, metadata={KEY: json.dumps(identity), ABOUT_KEY: json.dumps(about)})

    @classmethod
    def of(cls, field: pa.Field) -> Self | None:
        """What stands in a field's metadata; None for a column that no model made."""
        metadata = field.metadata or {}
        try:
            identity, about = json.loads(metadata[KEY]), json.loads(metadata[ABOUT_KEY])
            sources = tuple((name, digest) for name, digest in identity["sources"])
            shape = tuple(identity["shape"])
            return cls(
                identity["sha256"],
                sources,
                shape,
                about["model"],
                about["trained_on"],
                identity.get("settings", {}),
                about.get("revision"),
                about.get("license"),
            )
        except (KeyError, TypeError, ValueError):
            return None


def sources_of(schema: pa.Schema, names: Iterable[str]) -> tuple[tuple[str, str | None], ...]:
    """`ColumnInfo.sources` for a column that is to be made of the columns `names`."""
    infos = {name: ColumnInfo.of(schema.field(name)) for name in names}
    return tuple((name, info.sha256 if info else None) for name, info in infos.items())


def derived(schema: pa.Schema, names: Iterable[str]) -> list[str]:
    """Columns made of `names`, or of columns that were, in the schema's order, without `names` themselves; and without
    those whose rows can tell when what they were made of has changed.
    """
    given = set(names)
    infos = {field.name: info for field in schema if (info := ColumnInfo.of(field))}
    infos = {name: info for name, info in infos.items() if FINGERPRINT not in info.settings}
    reached = set(given)
    while True:
        more = {name for name, info in infos.items() if reached & {source for source, _ in info.sources}}
        if more <= reached:
            return [name for name in schema.names if name in reached - given]
        reached |= more


def same_column(existing: pa.Field, wanted: pa.Field) -> bool:
    """Whether two fields have one type and one meaning."""
    return bool(existing.type.equals(wanted.type)) and _identity(existing) == _identity(wanted)


def _identity(field: pa.Field) -> dict[bytes, bytes]:
    return {key: value for key, value in (field.metadata or {}).items() if key != ABOUT_KEY}
