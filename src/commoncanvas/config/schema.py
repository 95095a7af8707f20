"""The base class of all recipe schemas."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Beta = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0)]


class Schema(BaseModel):
    # NaN would pass every bound.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
