"""Values of a latent for the viewer, with their place in the CT."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.evaluation.report.pack import pack
from ct_vae.latent import Latent

_STEPS = 65535
_LOWEST = -32768
# Share of values at either end that the color scale leaves out.
_TAIL = 0.01


def latent_layer(
    latent: Latent, affine: NDArray[np.float64], first_text: int
) -> tuple[dict[str, Any], list[bytes]]:
    """Return the description of a latent for the viewer, and its packed values.

    Args:
        latent: Latent.
        affine: Indices of the voxels on which it is shown to RAS+ positions in mm, ``(4, 4)``.
        first_text: Index of the first packed text.

    Returns:
        Description for JSON, and packed values. ``matrix`` maps indices of the shown voxels to
        those of the latent in RAS order. Means are stored as int16 with slope and intercept per
        channel: exactly, if they come from a file of int16; ``range`` holds the 1st and 99th
        percentiles. Codes are stored exactly, in ``parts`` of 16 bits.
    """
    grid = latent.grid.reorient("RAS")
    codes = latent.record.kind == "codes"
    channels = latent.array[None] if codes else latent.array
    ordered = [latent.grid.reorient_array(channel, "RAS").T for channel in channels]
    matrix = np.linalg.inv(grid.affine) @ affine
    description: dict[str, Any] = {
        "shape": list(grid.shape),
        "channels": len(ordered),
        "codes": codes,
        "matrix": matrix[:3].tolist(),
        "text": first_text,
        "parts": 1,
    }
    if codes:
        parts = _code_parts(ordered[0])
        return description | {"parts": len(parts)}, [pack(part) for part in parts]
    scales = [_scale(channel, latent) for channel in ordered]
    description["slope"], description["inter"] = ([s[n] for s in scales] for n in (0, 1))
    description["range"] = [
        np.quantile(channel.astype(np.float64), (_TAIL, 1 - _TAIL)).tolist() for channel in ordered
    ]
    packed = [
        pack(np.rint((channel.astype(np.float64) - inter) / slope).astype(np.int16))
        for channel, (slope, inter) in zip(ordered, scales, strict=True)
    ]
    return description, packed


def _scale(channel: NDArray[Any], latent: Latent) -> tuple[float, float]:
    """Return slope and intercept that store a channel as int16."""
    stored = latent.record.quantisation
    if stored is not None and stored.dtype == "int16":
        return stored.slope, stored.inter
    low, high = float(channel.min()), float(channel.max())
    slope = (high - low) / _STEPS or 1.0
    return slope, low - _LOWEST * slope


def _code_parts(codes: NDArray[Any]) -> list[NDArray[np.int16]]:
    """Return the lower and, if there is anything in them, the upper 16 bits of codes."""
    wide = codes.astype(np.int64)
    count = max(1, math.ceil(int(wide.max()).bit_length() / 16))
    return [((wide >> 16 * n) & 0xFFFF).astype(np.uint16).view(np.int16) for n in range(count)]
