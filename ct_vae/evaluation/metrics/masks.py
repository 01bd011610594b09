"""Which voxels count: the field of view, and the body without couch, air and clothes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.errors import InputError
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


def everything(volume: Volume) -> Mask:
    """All voxels, seen by the scanner or not."""
    return Mask("all", np.ones(volume.grid.shape, dtype=np.bool_))


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
    axial = axial_axis(volume)
    planes = np.moveaxis(volume.voxels, axial, 0)
    unseen = None if volume.outside_fov is None else np.moveaxis(volume.outside_fov, axial, 0)
    spacing = [s for axis, s in enumerate(volume.grid.spacing_mm) if axis != axial]
    steps = max(1, round(_OPENING_MM / max(spacing)))
    body = np.empty(planes.shape, dtype=np.bool_)
    for place, plane in enumerate(planes):
        above = plane > BODY_ABOVE_HU
        body[place] = _opened(above if unseen is None else above & ~unseen[place], steps)
    if not _keep_largest(body):
        note = (
            f"no body above {BODY_ABOVE_HU} HU remains after the opening: "
            "the whole field of view is taken"
        )
        return Mask("body", field_of_view(volume).voxels, note)
    pocket = _POCKET_MM2 / (spacing[0] * spacing[1])
    for place, plane in enumerate(body):
        body[place] = _filled(plane, pocket)
        if unseen is not None:
            body[place] &= ~unseen[place]
    return Mask("body", np.moveaxis(body, 0, axial))


def axial_axis(volume: Volume) -> int:
    """The index axis that runs nearest to the patient's head or feet."""
    return next(axis for axis, code in enumerate(volume.grid.axcodes) if code in "SI")


def check_masks(reference: Volume, masks: list[Mask] | tuple[Mask, ...]) -> None:
    """Refuse masks that are not on the grid of a volume.

    Raises:
        InputError: If a mask has another shape.
    """
    for mask in masks:
        if mask.voxels.shape != reference.grid.shape:
            raise InputError(
                f"the mask {mask.name} has {mask.voxels.shape} voxels, the original "
                f"{reference.grid.shape}",
                "give a mask on the original's grid",
            )


def _opened(plane: BoolArray, steps: int) -> BoolArray:
    if not plane.any() or plane.all():
        return plane
    worn = plane
    for _ in range(steps):
        worn = _worn(worn)
    # What a diamond wears off the background is what it adds to the rest.
    grown = ~worn
    for _ in range(steps):
        grown = _worn(grown)
    return ~grown


def _worn(plane: BoolArray) -> BoolArray:
    """Erosion by a diamond of one pixel; beyond the border all is set."""
    worn = plane.copy()
    worn[1:] &= plane[:-1]
    worn[:-1] &= plane[1:]
    worn[:, 1:] &= plane[:, :-1]
    worn[:, :-1] &= plane[:, 1:]
    return worn


def _keep_largest(voxels: BoolArray) -> bool:
    """Clear all but the largest component, in place; whether there is one."""
    labels, count = ndimage.label(voxels)
    if not count:
        return False
    # Slice by slice, for counting takes the labels to eight bytes each.
    sizes = sum(np.bincount(plane.ravel(), minlength=count + 1) for plane in labels)
    assert isinstance(sizes, np.ndarray)
    sizes[0] = 0
    np.equal(labels, sizes.argmax(), out=voxels)
    return True


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
