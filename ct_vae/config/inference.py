"""Section ``inference``: how whole volumes go through the model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ct_vae.config.base import Section


def _renamed(value: Any) -> Any:
    # What earlier configurations ask for: the best that the memory allows.
    return "exact" if value == "auto" else value


class InferenceConfig(Section):
    """Defaults of encode and decode; the command line overrides them."""

    tiling: Annotated[Literal["exact", "blend", "whole"], BeforeValidator(_renamed)] = "exact"
    """``exact`` streams a volume in slabs with the result of the whole; ``whole`` takes it at once;
    ``blend`` takes overlapping tiles and blends them, for weights published with that."""

    tile: Annotated[int, Field(gt=0)] = 96
    """Side of a tile in voxels, rounded up to a multiple of the factor."""

    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of a tile that it has in common with the next one."""

    max_memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Bound for the process, or for the GPU; null means three fifths of what is free."""
