"""Section ``inference``: how whole volumes go through the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ct_vae.config.base import Section


class InferenceConfig(Section):
    """Defaults of encode and decode; the command line overrides them."""

    tiling: Literal["auto", "whole", "blend"] = "auto"
    """``whole`` takes a volume at once, ``blend`` in overlapping tiles, ``auto`` what fits."""

    tile: Annotated[int, Field(gt=0)] = 96
    """Side of a tile in voxels, rounded up to a multiple of the factor."""

    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of a tile that it has in common with the next one."""

    max_memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Memory that one pass may take; null means three fifths of what is free."""
