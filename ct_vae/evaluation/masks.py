"""Which voxels count: the field of view, and the body without couch, air and clothes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.volume import BODY_ABOVE_HU, Volume

# Blankets, couch shells and their contact with the skin are thinner than twice this.
_OPENING_MM = 2.5
_POCKET_MM2 = 100.0

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Mask:
    """Voxels that count in a metric.

    Attributes:
        name: What they are, for tables.
        voxels: ``(X, Y, Z)`` bool.
        note: What was unusual about finding them; empty when nothing was.
    """

    name: str
    voxels: BoolArray
    note: str = ""


def field_of_view(volume: Volume) -> Mask:
    """All voxels that the scanner saw."""
    if volume.outside_fov is None:
        return Mask("field_of_view", np.ones(volume.grid.shape, dtype=np.bool_))
    return Mask("field_of_view", ~volume.outside_fov)


def body_mask(volume: Volume) -> Mask:
    """The body: above -500 HU, opened, largest component, holes filled slice by slice.

    The opening works in the axial plane with a diamond of about 2.5 mm, at least one voxel, and
    takes what lies beyond the border as body, so that a body which touches the border is not worn
    off there. A hole is filled when, in its axial slice, it does not reach the border or is
    smaller than 1 cm^2, as a bubble of gas at the edge of a crop is; lungs that a crop cuts open
    stay outside.

    Returns:
        The mask. When nothing remains it is the whole field of view, and its note says so.
    """
    seen = field_of_view(volume).voxels
    axial = _axial_axis(volume)
    above = np.moveaxis((volume.voxels > BODY_ABOVE_HU) & seen, axial, 0)
    spacing = [s for axis, s in enumerate(volume.grid.spacing_mm) if axis != axial]
    steps = max(1, round(_OPENING_MM / max(spacing)))
    opened = np.stack([_opened(plane, steps) for plane in above])
    body = _largest_component(opened)
    if body is None:
        note = (
            f"no body above {BODY_ABOVE_HU} HU remains after the opening: "
            "the whole field of view is taken"
        )
        return Mask("body", seen, note)
    pocket = _POCKET_MM2 / (spacing[0] * spacing[1])
    filled = np.stack([_filled(plane, pocket) for plane in body])
    return Mask("body", np.ascontiguousarray(np.moveaxis(filled, 0, axial)) & seen)


def _axial_axis(volume: Volume) -> int:
    return next(axis for axis, code in enumerate(volume.grid.axcodes) if code in "SI")


def _opened(plane: BoolArray, steps: int) -> BoolArray:
    if not plane.any() or plane.all():
        return plane
    worn = ndimage.binary_erosion(plane, iterations=steps, border_value=1)
    grown: BoolArray = ndimage.binary_dilation(worn, iterations=steps)
    return grown


def _largest_component(voxels: BoolArray) -> BoolArray | None:
    labels, count = ndimage.label(voxels)
    if not count:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: BoolArray = labels == sizes.argmax()
    return largest


def _filled(plane: BoolArray, pocket: float) -> BoolArray:
    """All but the background that reaches the border and has at least ``pocket`` pixels."""
    labels, count = ndimage.label(~plane)
    outside = np.zeros(count + 1, dtype=np.bool_)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[edge] = True
    outside &= np.bincount(labels.ravel(), minlength=count + 1) >= pocket
    outside[0] = False
    inside: BoolArray = ~outside[labels]
    return inside
