"""Base class and types of the parts of a latent's record."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Sides = tuple[int, int, int]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class RecordPart(BaseModel):
    """Part of a record: immutable, without unknown keys, and strict in its types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
