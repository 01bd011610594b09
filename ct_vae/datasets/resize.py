"""Images of any size become images of one size: bilinear in 2-D, trilinear in 3-D."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ct_vae.errors import InputError

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def resize(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resize ``(C, *spatial)`` to ``(C, *size)``; the outer faces of the image stay where they are.

    Voxel centres are halves (``align_corners=False``). Nothing is blurred first, in no dimension,
    so that 2-D and 3-D do the same: what shrinks more than twofold skips voxels, and is better
    resampled by ``preprocess.spacing_mm``.

    Returns:
        Float32 HU; an image that has this size already is given back as it is.

    Raises:
        InputError: If the image has not as many sides as ``size``.
    """
    if image.ndim != len(size) + 1 or len(size) not in _MODES:
        raise InputError(
            f"an image of shape {tuple(image.shape)} cannot be resized to {tuple(size)}: "
            "it needs a channel axis and as many sides"
        )
    if tuple(image.shape[1:]) == tuple(size):
        return image
    # A MetaTensor would keep an affine that is right no more.
    plain = image.as_subclass(torch.Tensor).to(torch.float32)
    mode = _MODES[len(size)]
    return functional.interpolate(plain[None], tuple(size), mode=mode, align_corners=False)[0]
