"""Separation of images by matrix, orientation and pixel spacing, and their common geometry.

Values are separated at gaps between them, not by their distance from a reference image, so that
rounding never splits a series.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ct_vae.errors import InputError
from ct_vae.grid import FloatArray
from ct_vae.io.dicom.geometry import Stack, normal_of, position_tolerance_mm, stack_slices
from ct_vae.io.dicom.image_header import ImageHeader, Numbers

# Tolerance of direction cosines: it moves the corner of a 500 mm slice by 0.5 mm.
COSINE_TOLERANCE = 1e-3
# Relative tolerance of pixel spacings.
SPACING_TOLERANCE = 1e-3
_LOG_SPACING = float(np.log1p(SPACING_TOLERANCE))
# Binary representation error of decimals.
_DUST = 1e-7
# Smaller differences are not reported.
_REPORTED = 1e-5

Images = list[ImageHeader]


def by_plane(images: Sequence[ImageHeader]) -> list[Images]:
    """Group images with the same matrix, orientation and pixel spacing within tolerances."""
    values = np.array([_values(image) for image in images])
    parts = _connected(values, list(range(len(images))))
    return [[images[i] for i in part] for part in parts]


def plane_problem(images: Sequence[ImageHeader]) -> InputError | None:
    """Return the error for orientations or spacings that drift in small steps."""
    values = np.array([_values(image) for image in images])
    off = np.abs(values - np.median(values, axis=0)).max(axis=0)
    if off[2:8].max() > COSINE_TOLERANCE + _DUST or off[8:].max() > _LOG_SPACING + _DUST:
        return InputError(
            f"its slices are not parallel or differ in scale: their directions differ by up to "
            f"{np.ptp(values[:, 2:8], axis=0).max():.3g}, their pixel spacings by a fraction of "
            f"{np.expm1(np.ptp(values[:, 8:], axis=0).max()):.3g}"
        )
    return None


def plane_note(images: Sequence[ImageHeader]) -> str:
    """Return a warning about differing orientations or spacings within a volume, or ``""``."""
    values = np.array([_values(image) for image in images])
    turn, scale = np.ptp(values[:, 2:8], axis=0).max(), np.ptp(values[:, 8:], axis=0).max()
    if max(turn, scale) <= _REPORTED:
        return ""
    ranges = [
        f"directions by up to {turn:.2g} in a cosine" if turn > _REPORTED else "",
        f"pixel spacings by a fraction of {np.expm1(scale):.2g}" if scale > _REPORTED else "",
    ]
    return f"its slices differ in {' and '.join(filter(None, ranges))}, and the median was used"


def differences(a: ImageHeader, b: ImageHeader) -> list[str]:
    """Return the names of the plane properties in which two images differ."""
    off = np.abs(_values(a) - _values(b))
    found = [
        (off[:2].max(), 0.0, "number of rows and columns"),
        (off[8:].max(), _LOG_SPACING + _DUST, "pixel spacing"),
        (off[2:8].max(), COSINE_TOLERANCE + _DUST, "orientation"),
    ]
    return [name for value, limit, name in found if value > limit]


def common_geometry(images: Sequence[ImageHeader]) -> tuple[Numbers, Numbers]:
    """Return the median orientation and pixel spacing of images of one plane."""
    return (
        _median([image.orientation or () for image in images]),
        _median([image.spacing or () for image in images]),
    )


def stack_of(images: Sequence[ImageHeader]) -> Stack:
    """Sort the slices of one plane and fit a grid to them, with their common geometry.

    Raises:
        InputError: If orientation or spacing are invalid, or all slices are at one position.
    """
    first = images[0]
    assert first.pixels
    matrix = first.pixels.columns, first.pixels.rows
    positions = [image.position or () for image in images]
    return stack_slices(positions, *common_geometry(images), matrix, first.thickness)


def is_regular(images: Sequence[ImageHeader]) -> bool:
    """Return whether slices at distinct positions lie on a regular grid."""
    try:
        return stack_of(images).fault is None
    except InputError:
        return False


def distances_of(images: Sequence[ImageHeader], normal: FloatArray | None = None) -> FloatArray:
    """Return positions of images along a normal in mm, by default along their own."""
    if normal is None:
        normal = common_normal(images)
    distances: FloatArray = np.asarray([image.position for image in images]) @ normal
    return distances


def common_normal(images: Sequence[ImageHeader]) -> FloatArray:
    """Return the normal of images of one plane."""
    return normal_of(common_geometry(images)[0])


def group_by_position(images: Sequence[ImageHeader]) -> list[Images]:
    """Group images of one plane by their position along the normal, in ascending order."""
    distances = distances_of(images)
    order = np.argsort(distances, kind="stable")
    near = position_tolerance_mm(distances.tolist())
    positions = [[images[int(order[0])]]]
    for before, after in pairwise(order.tolist()):
        if distances[after] - distances[before] <= near:
            positions[-1].append(images[after])
        else:
            positions.append([images[after]])
    return positions


def _values(image: ImageHeader) -> FloatArray:
    """Return rows, columns, six cosines, and the logarithms of two spacings."""
    assert image.pixels
    spacing = np.maximum(np.asarray(image.spacing, dtype=np.float64), 1e-9)
    cosines = image.orientation or ()
    return np.array([image.pixels.rows, image.pixels.columns, *cosines, *np.log(spacing)])


def _connected(values: FloatArray, indices: list[int]) -> list[list[int]]:
    """Split rows at gaps between sorted values of any component, recursively."""
    limits = [0.0] * 2 + [COSINE_TOLERANCE + _DUST] * 6 + [_LOG_SPACING + _DUST] * 2
    for component, limit in enumerate(limits):
        column = values[indices, component]
        order = np.argsort(column, kind="stable")
        cuts = np.flatnonzero(np.diff(column[order]) > limit) + 1
        if cuts.size:
            pieces = np.split(np.asarray(indices)[order], cuts)
            return [part for piece in pieces for part in _connected(values, sorted(piece.tolist()))]
    return [indices]


def _median(values: Sequence[Sequence[float]]) -> Numbers:
    """Return the median of each component."""
    middle = np.median(np.asarray(values, dtype=np.float64), axis=0)
    return tuple(float(value) for value in middle)
