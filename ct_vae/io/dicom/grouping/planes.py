"""Images by the planes that they lie in: matrix, pixel spacing, directions, and places.

Values are told apart by gaps between them, not by their distance from one image, so that rounding
never divides what belongs together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ct_vae.errors import InputError
from ct_vae.grid import FloatArray
from ct_vae.io.dicom.geometry import Stack, normal_of, same_place_mm, stack_slices
from ct_vae.io.dicom.image_header import ImageHeader, Numbers

# Direction cosines that differ by this much move the corner of a 500 mm slice by 0.5 mm.
COSINE_TOLERANCE = 1e-3
# Pixel spacings of one volume, as a ratio.
SPACING_TOLERANCE = 1e-3
_LOG_SPACING = float(np.log1p(SPACING_TOLERANCE))
# What is left of decimals in binary.
_DUST = 1e-7
# Differences below this are rounding, of which nothing is told.
_TOLD = 1e-5

Images = list[ImageHeader]


def by_plane(images: Sequence[ImageHeader]) -> list[Images]:
    """Images of equal matrix whose directions and spacings are connected by small steps."""
    values = np.array([_values(image) for image in images])
    parts = _connected(values, list(range(len(images))))
    return [[images[i] for i in part] for part in parts]


def plane_problem(images: Sequence[ImageHeader]) -> InputError | None:
    """Why images of one plane are none: small steps that add up to a large one."""
    values = np.array([_values(image) for image in images])
    off = np.abs(values - np.median(values, axis=0)).max(axis=0)
    if off[2:8].max() > COSINE_TOLERANCE + _DUST or off[8:].max() > _LOG_SPACING + _DUST:
        return InputError(
            f"its slices turn against each other: their directions differ by up to "
            f"{np.ptp(values[:, 2:8], axis=0).max():.3g}, their pixel spacing by "
            f"{np.expm1(np.ptp(values[:, 8:], axis=0).max()):.3g} of itself"
        )
    return None


def plane_note(images: Sequence[ImageHeader]) -> str:
    """How far directions and spacings of one volume differ, if they do by more than dust."""
    values = np.array([_values(image) for image in images])
    turn, scale = np.ptp(values[:, 2:8], axis=0).max(), np.ptp(values[:, 8:], axis=0).max()
    if max(turn, scale) <= _TOLD:
        return ""
    told = [
        f"directions by up to {turn:.2g} in a cosine" if turn > _TOLD else "",
        f"pixel spacings by {np.expm1(scale):.2g} of themselves" if scale > _TOLD else "",
    ]
    return f"its slices differ in {' and '.join(filter(None, told))}, and the median was taken"


def differences(a: ImageHeader, b: ImageHeader) -> list[str]:
    """In what two images differ that keeps them out of one volume, as far as planes go."""
    off = np.abs(_values(a) - _values(b))
    found = [
        (off[:2].max(), 0.0, "number of rows and columns"),
        (off[8:].max(), _LOG_SPACING + _DUST, "pixel spacing"),
        (off[2:8].max(), COSINE_TOLERANCE + _DUST, "orientation"),
    ]
    return [name for value, limit, name in found if value > limit]


def common_geometry(images: Sequence[ImageHeader]) -> tuple[Numbers, Numbers]:
    """Directions along a row and a column, and spacings, of images of one plane."""
    return (
        _median([image.orientation or () for image in images]),
        _median([image.spacing or () for image in images]),
    )


def stack_of(images: Sequence[ImageHeader]) -> Stack:
    """The slices of one plane in their order, on their common directions and spacing.

    Raises:
        InputError: If directions or spacing are none, or all slices lie at one place.
    """
    first = images[0]
    assert first.pixels
    matrix = first.pixels.columns, first.pixels.rows
    positions = [image.position or () for image in images]
    return stack_slices(positions, *common_geometry(images), matrix, first.thickness)


def is_regular(images: Sequence[ImageHeader]) -> bool:
    """Whether slices of one plane, no two of them at one place, lie on a regular grid."""
    try:
        return stack_of(images).fault is None
    except InputError:
        return False


def distances_of(images: Sequence[ImageHeader], normal: FloatArray | None = None) -> FloatArray:
    """Places of images along a normal in mm, by default along their own."""
    if normal is None:
        normal = common_normal(images)
    distances: FloatArray = np.asarray([image.position for image in images]) @ normal
    return distances


def common_normal(images: Sequence[ImageHeader]) -> FloatArray:
    """The normal of images of one plane."""
    return normal_of(common_geometry(images)[0])


def places_of(images: Sequence[ImageHeader]) -> list[Images]:
    """Images of one plane by their place along its normal, ascending."""
    distances = distances_of(images)
    order = np.argsort(distances, kind="stable")
    near = same_place_mm(distances.tolist())
    places = [[images[int(order[0])]]]
    for before, after in pairwise(order.tolist()):
        if distances[after] - distances[before] <= near:
            places[-1].append(images[after])
        else:
            places.append([images[after]])
    return places


def _values(image: ImageHeader) -> FloatArray:
    """Rows, columns, six cosines, and the logarithms of two spacings."""
    assert image.pixels
    spacing = np.maximum(np.asarray(image.spacing, dtype=np.float64), 1e-9)
    cosines = image.orientation or ()
    return np.array([image.pixels.rows, image.pixels.columns, *cosines, *np.log(spacing)])


def _connected(values: FloatArray, indices: list[int]) -> list[list[int]]:
    """Split where sorted values of any component leave a gap, until none is left."""
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
    """The median of each component, exactly the value if all are the same."""
    middle = np.median(np.asarray(values, dtype=np.float64), axis=0)
    return tuple(float(value) for value in middle)
