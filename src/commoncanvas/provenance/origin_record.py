"""The shape of what a record says of where a model comes from."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from commoncanvas.core.errors import ModelError


class Source(TypedDict):
    """The rows of one catalog that a model learned from."""

    uri: str
    tag: str
    filter: str
    heldout_fraction: float
    heldout_by: str | None
    fraction: float
    fraction_seed: int
    rows: dict[str, int]


class BuiltOn(TypedDict):
    """A part that a model is built on."""

    role: str
    model: str
    sha256: str
    license: str
    origin: Origin | None


class Origin(TypedDict):
    """What a model learned from, and what it is built on."""

    name: str
    task: str
    catalogs: dict[str, Source]
    rows: dict[str, Any]
    licenses: dict[str, int]
    creators: int
    result_license: str | None
    built_on: list[BuiltOn]


def check_origin(record: dict[str, Any], where: str) -> None:
    """Raise ModelError that names the first field of a record which is missing or has another type. `where`: its
    place.
    """
    try:
        _adapter().validate_python(record)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        raise ModelError(
            f"{where}: {field}: {fault['msg'][:1].lower()}{fault['msg'][1:]}; train the model again with this version"
        ) from error


@cache
def _adapter() -> TypeAdapter[Origin]:
    return TypeAdapter(Origin)
