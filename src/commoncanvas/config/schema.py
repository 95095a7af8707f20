"""What every schema of a recipe has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Beta = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0)]


class Schema(BaseModel):
    # A float that is not a number would pass every bound.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
