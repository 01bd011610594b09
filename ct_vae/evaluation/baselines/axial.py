"""Axial slices of a volume as a stack of images, for image and video codecs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import ConfigError
from ct_vae.masks import axial_axis
from ct_vae.volume import Volume


def axial_slices(volume: Volume) -> NDArray[np.int32]:
    """Return axial slices ``(slices, rows, columns)`` in whole HU, contiguous in memory.

    Codecs read the buffer of an array and ignore its strides, so a transposed view would be
    compressed in the wrong order.
    """
    planes = np.moveaxis(volume.voxels, axial_axis(volume), 0)
    return np.ascontiguousarray(np.rint(planes).astype(np.int32))


def from_axial_slices(slices: NDArray[Any], like: Volume) -> Volume:
    """Convert decoded slices to an int16 volume on the grid of the original.

    Values are rounded and clipped to the range of the original.

    Args:
        slices: Decoded slices ``(slices, rows, columns)`` in HU.
        like: Original volume.
    """
    low, high = round(float(like.voxels.min())), round(float(like.voxels.max()))
    voxels = np.rint(slices).clip(low, high).astype(np.int16)
    return Volume(np.moveaxis(voxels, 0, axial_axis(like)), like.grid, like.outside_fov)


def import_codec(package: str, method: str, extra: str) -> ModuleType:
    """Import the optional package of a codec.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"the {method} baseline needs the package {package}", f"pip install 'ct_vae[{extra}]'"
        ) from error
