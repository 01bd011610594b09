"""Resizing of images to a common size: bilinear in 2-D, trilinear in 3-D."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ct_vae.errors import InputError

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def resize(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resize ``(C, *spatial)`` to ``(C, *size)`` with fixed outer faces of the image.

    Uses ``align_corners=False`` and no antialiasing: downsampling by more than 2 skips voxels, for
    which ``preprocess.spacing_mm`` is better.

    Returns:
        Float32 HU, or the image itself if it has this size already.

    Raises:
        InputError: If the number of spatial dimensions differs from the length of ``size``.
    """
    if image.ndim != len(size) + 1 or len(size) not in _MODES:
        raise InputError(
            f"an image of shape {tuple(image.shape)} cannot be resized to {tuple(size)}: "
            "it needs a channel axis and as many sides"
        )
    if tuple(image.shape[1:]) == tuple(size):
        return image
    # A MetaTensor would keep an affine that is no longer valid.
    plain = image.as_subclass(torch.Tensor).to(torch.float32)
    mode = _MODES[len(size)]
    return functional.interpolate(plain[None], tuple(size), mode=mode, align_corners=False)[0]
