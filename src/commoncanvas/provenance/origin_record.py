"""The shape of what a record says of where a model comes from."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from commoncanvas.core.errors import ModelError


class Source(BaseModel):
    """The rows of one catalog that a model learned from."""

    uri: str
    tag: str
    filter: str
    heldout_fraction: float
    heldout_by: str | None
    fraction: float
    fraction_seed: int
    rows: dict[str, int]


class BuiltOn(BaseModel):
    """A part that a model is built on."""

    role: str
    model: str
    sha256: str
    license: str
    origin: Origin | None


class Origin(BaseModel):
    """What a model learned from, and what it is built on."""

    name: str
    task: str
    catalogs: dict[str, Source]
    rows: dict[str, Any]
    licenses: dict[str, int]
    creators: int
    result_license: str | None
    built_on: list[BuiltOn]


ORIGIN = tuple(Origin.model_fields)
"""The fields of a model's record that records of other models have too."""


def check_origin(record: dict[str, Any], where: str) -> None:
    """Raise ModelError that names the first field of a record which is missing or has another type. `where`: its
    place.
    """
    try:
        Origin.model_validate(record)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        raise ModelError(
            f"{where}: {field}: {fault['msg'][:1].lower()}{fault['msg'][1:]}; train the model again with this version"
        ) from error
