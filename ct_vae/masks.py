"""Masks for metrics: the field of view, and the body without couch, air and clothes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.errors import InputError
from ct_vae.volume import BODY_ABOVE_HU, Volume

# Blankets and couch shells are thinner than twice this.
_OPENING_MM = 2.5
_POCKET_MM2 = 100.0

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Mask:
    """Mask of the voxels for which a metric is computed.

    Attributes:
        name: Name in tables.
        voxels: ``(X, Y, Z)`` bool.
        note: Note about how the mask was found; may be empty.
    """

    name: str
    voxels: BoolArray
    note: str = ""


def everything(volume: Volume) -> Mask:
    """Return a mask of all voxels."""
    return Mask("all", np.ones(volume.grid.shape, dtype=np.bool_))


def field_of_view(volume: Volume) -> Mask:
    """Return a mask of the voxels inside the field of view of the scanner."""
    if volume.outside_fov is None:
        return Mask("field_of_view", np.ones(volume.grid.shape, dtype=np.bool_))
    return Mask("field_of_view", ~volume.outside_fov)


def body_mask(volume: Volume) -> Mask:
    """Segment the body: threshold, opening, largest component, and filling of holes.

    The threshold is -500 HU. The opening uses a diamond of about 2.5 mm (at least one voxel) in
    axial slices; voxels beyond the border count as body, so a body that touches the border is not
    eroded there. Holes in axial slices are filled if they do not touch the border or are smaller
    than 1 cm^2, such as gas at the edge of a crop; lungs that are cut by the border are not filled.

    Returns:
        The mask. If nothing remains, it is the field of view, with a note.
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
    """Return the index axis closest to the inferior-superior direction."""
    return next(axis for axis, code in enumerate(volume.grid.axcodes) if code in "SI")


def check_masks(reference: Volume, masks: list[Mask] | tuple[Mask, ...]) -> None:
    """Check that masks have the shape of a volume.

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
    # Eroding the background is the same as dilating the rest.
    grown = ~worn
    for _ in range(steps):
        grown = _worn(grown)
    return ~grown


def _worn(plane: BoolArray) -> BoolArray:
    """Erode by a diamond of one pixel; pixels beyond the border count as set."""
    worn = plane.copy()
    worn[1:] &= plane[:-1]
    worn[:-1] &= plane[1:]
    worn[:, 1:] &= plane[:, :-1]
    worn[:, :-1] &= plane[:, 1:]
    return worn


def _keep_largest(voxels: BoolArray) -> bool:
    """Keep only the largest component, in place; return False if there is none."""
    labels, count = ndimage.label(voxels)
    if not count:
        return False
    # Slice by slice, because counting converts the labels to eight bytes each.
    sizes = sum(np.bincount(plane.ravel(), minlength=count + 1) for plane in labels)
    assert isinstance(sizes, np.ndarray)
    sizes[0] = 0
    np.equal(labels, sizes.argmax(), out=voxels)
    return True


def _filled(plane: BoolArray, pocket: float) -> BoolArray:
    """Fill all background components inside the border or smaller than ``pocket`` pixels."""
    labels, count = ndimage.label(~plane)
    outside = np.zeros(count + 1, dtype=np.bool_)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[edge] = True
    outside &= np.bincount(labels.ravel(), minlength=count + 1) >= pocket
    outside[0] = False
    inside: BoolArray = ~outside[labels]
    return inside
