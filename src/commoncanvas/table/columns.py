"""The origin of columns that a model made, stored in field metadata, and dependencies between columns."""

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
"""Metadata that identifies a column."""
FINGERPRINT = "fingerprint"
"""A setting: the name of the column that stores, for each row, what its value was made from."""
ABOUT_KEY = b"commoncanvas.about"
"""Metadata that only describes a column. The same weights at another path make the same column."""


@dataclass(frozen=True)
class ColumnInfo:
    """Which model made a column, and from what.

    `sources`: each source column, with the digest of the weights that made it (None: no model made it). `shape`: of
    one row's value, () for a scalar. `model`: the model's name or path, as the user gave it. `trained_on`: the model's
    training data (see `provenance.origin`), None if not recorded. `settings`: what else determines the values, such as
    a prompt; JSON values. `revision`: commit on the hub, None for a local folder. `license`: stated in the model card,
    None if the card was not read.
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
        """Model, sources and settings in a few words, for messages."""
        sources = ", ".join(name + (f" by {digest[:12]}" if digest else "") for name, digest in self.sources)
        settings = ", ".join(
            f"{name} {value!r}" for name, value in self.settings.items() if name != FINGERPRINT
        )
        return f"{self.model} ({self.sha256[:12]}) from {sources}" + (f" with {settings}" if settings else "")

    def check(self, sha256: str) -> None:
        """Raise ModelError if the loaded weights have another digest."""
        if sha256 != self.sha256:
            raise ModelError(
                f"model {self.model} has other weights on {socket.gethostname()} ({sha256[:12]}) than on the machine "
                f"that started the run ({self.sha256[:12]}); copy the same weights to both"
            )

    def field(self, name: str, kind: pa.DataType | None = None) -> pa.Field:
        """The field `name` of type `kind`; default: fp16 values in the column's shape."""
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
        """Read a field's metadata; None for a column that no model made."""
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
    """`ColumnInfo.sources` for a column made from the columns `names`."""
    infos = {name: ColumnInfo.of(schema.field(name)) for name in names}
    return tuple((name, info.sha256 if info else None) for name, info in infos.items())


def derived(schema: pa.Schema, names: Iterable[str]) -> list[str]:
    """Columns made directly or indirectly from `names`, in the schema's order, without `names` themselves. Columns with
    a FINGERPRINT are left out: their rows show when a source changed.
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
    """Whether two fields have the same type and meaning."""
    return bool(existing.type.equals(wanted.type)) and _identity(existing) == _identity(wanted)


def _identity(field: pa.Field) -> dict[bytes, bytes]:
    return {key: value for key, value in (field.metadata or {}).items() if key != ABOUT_KEY}
