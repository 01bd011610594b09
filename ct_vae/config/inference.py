"""Section ``inference``: tiling and memory of encoding and decoding."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ct_vae.config.base import Section


def _renamed(value: Any) -> Any:
    # What earlier configurations ask for: the best that the memory allows.
    return "exact" if value == "auto" else value


class InferenceConfig(Section):
    """Default options of encoding and decoding; the command line overrides them."""

    tiling: Annotated[Literal["exact", "blend", "whole"], BeforeValidator(_renamed)] = "exact"
    """Method for large volumes: `exact` streams slabs and gives the same result as the whole
    volume; `whole` runs the whole volume at once; `blend` averages overlapping tiles, for published
    weights that were used that way."""

    tile: Annotated[int, Field(gt=0)] = 96
    """Tile size in voxels per axis for `blend`, rounded up to a multiple of the downsampling
    factor."""

    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Fraction of a tile that overlaps the next one, for `blend`."""

    max_memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Memory limit in GB, of the GPU or (on the CPU) of the process; null means 60 % of the free
    memory."""
