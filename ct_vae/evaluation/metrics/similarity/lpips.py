"""Perceptual distance (LPIPS) of axial slices, with weights from a local file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from ct_vae.config.loss import SHORTEST_SLICE
from ct_vae.errors import ConfigError
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.windows import Window
from ct_vae.losses.perceptual import PerceptualDistance
from ct_vae.losses.vgg import KEY, VGG16, load_vgg16

# Slices in the network at once.
_BATCH = 4


@cache
def load_network(path: Path) -> VGG16:
    """Load the feature network, once for all cases and baselines.

    Args:
        path: Weights of VGG-16 with the names of torchvision, and of LPIPS if they are in the file.

    Raises:
        ConfigError: If the file does not exist or contains other weights.
    """
    try:
        return load_vgg16(path)
    except ConfigError as error:
        raise ConfigError(
            f"LPIPS: {error.cause.removeprefix(f'{KEY}: ')}",
            "nothing is downloaded: give a file with weights of torchvision's vgg16",
        ) from error


def lpips_distance(pair: Pair, window: Window, network: VGG16) -> float | None:
    """Return the mean LPIPS distance of axial slices (Zhang et al. 2018, eq. 1, with VGG-16).

    Slices are clipped to the window, whose ends are black and white, and used as gray images. All
    voxels count, air included.

    Args:
        pair: Original and reconstruction.
        window: CT window.
        network: Feature network; see `load_network`.

    Returns:
        Distance, 0 for equal volumes; ``None`` if slices have fewer than 16 rows or columns.
    """
    shape = pair.images[0].shape
    if min(shape[1:]) < SHORTEST_SLICE:
        return None
    distance = PerceptualDistance(network, (window.low, window.high), 1.0)
    total = 0.0
    for first in range(0, shape[0], _BATCH):
        part = slice(first, min(first + _BATCH, shape[0]))
        a, b = (
            torch.from_numpy(image[part].astype(np.float32).clip(window.low, window.high))[:, None]
            for image in pair.images
        )
        with torch.inference_mode():
            total += float(distance(b, a, 0)) * len(a)
    return total / int(shape[0])
