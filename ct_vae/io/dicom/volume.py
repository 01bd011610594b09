"""One group of images as a volume: what is checked from headers alone, then the voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ct_vae.errors import InputError
from ct_vae.io.dicom.file import AGAIN
from ct_vae.io.dicom.geometry import Stack, stack_slices
from ct_vae.io.dicom.grouping import Group
from ct_vae.io.dicom.image_header import ImageHeader
from ct_vae.io.dicom.pixels import declared_fault, read_hounsfield
from ct_vae.io.hounsfield.build import hounsfield_volume
from ct_vae.io.hounsfield.regular_grid import rectify
from ct_vae.io.hounsfield.rescale import Scaling
from ct_vae.io.nifti.header import MAX_VOXELS
from ct_vae.io.read_options import ReadOptions
from ct_vae.volume import Volume

# Declared units that are HU; "unspecified" is what many writers put there.
_UNITS = {"", "HU", "HU_MOD", "US"}
# What padding becomes before the last step, which turns all below -1400 HU to air.
_PADDING_HU = -3024


def check_group(group: Group, options: ReadOptions) -> Stack:
    """Judge a group by its headers.

    Returns:
        The slices in their order, on a regular grid unless it was consented to resample them.

    Raises:
        InputError: If no right volume can come of it.
    """
    if group.problem:
        raise InputError(group.problem.cause, group.problem.hint)
    images = group.images
    first = images[0]
    assert first.pixels
    _check_rescale(images, options)
    count = first.pixels.rows * first.pixels.columns * len(images)
    if count > MAX_VOXELS:
        raise InputError(f"declares {count} voxels, more than 2^31")
    stack = stack_slices(
        [image.position or () for image in images],
        first.orientation or (),
        first.spacing or (),
        (first.pixels.columns, first.pixels.rows),
    )
    for k, index in enumerate(stack.order):
        if fault := declared_fault(images[index]):
            raise InputError(f"{_slice_name(stack, k)} {fault}", AGAIN)
    if stack.fault and not options.resample_irregular:
        raise stack.fault
    return stack


def read_group(group: Group, options: ReadOptions) -> Volume:
    """Read the voxels of a group.

    Raises:
        InputError: If it is refused, cut, damaged, or no CT in HU.
    """
    from pydicom.uid import UID

    stack = check_group(group, options)
    if options.frame:
        raise InputError(f"has one time point, and frame {options.frame} was asked for")
    images = [_rescaled(group.images[index]) for index in stack.order]
    # Consent to an offset comes later and must not lift padding out of its range.
    padding_hu = float(np.clip(np.floor(_PADDING_HU - options.hu_offset), -32768, -1401))
    voxels = read_hounsfield(images, lambda k: _slice_name(stack, k), padding_hu)
    syntaxes = sorted({UID(image.place.syntax).keyword for image in images if image.place})
    facts = {"format": "dicom", "slices": len(images), "transfer_syntaxes": syntaxes}
    notes = [*group.notes, *_remarks(group.images, options)]
    volume = hounsfield_volume(voxels, Scaling(), stack.grid, options, facts, notes)
    return rectify(volume, stack.offsets_mm) if stack.fault else volume


def _check_rescale(images: Sequence[ImageHeader], options: ReadOptions) -> None:
    lacking = sum(not _has_rescale(image) for image in images)
    if lacking and not options.assume_hu:
        raise InputError(
            f"{lacking} of {len(images)} slices lack RescaleSlope or RescaleIntercept, without "
            "which their HU are not known",
            "--assume-hu takes their stored numbers as HU",
        )
    if any(image.slope == 0 for image in images):
        raise InputError("a slice has a RescaleSlope of 0", AGAIN)
    units = sorted({image.unit for image in images} - _UNITS)
    if units and not options.force:
        raise InputError(
            "its numbers are declared in another unit than HU (RescaleType)",
            "if they are HU all the same, --force reads them",
        )


def _remarks(images: Sequence[ImageHeader], options: ReadOptions) -> list[str]:
    notes = []
    if options.assume_hu and not all(map(_has_rescale, images)):
        notes.append("there is no rescale in the headers: stored numbers were taken as HU")
    if any(image.pixels and image.pixels.lossy for image in images):
        notes.append("the pixels have been compressed with losses before")
    return notes


def _has_rescale(image: ImageHeader) -> bool:
    return image.slope is not None and image.inter is not None


def _rescaled(image: ImageHeader) -> ImageHeader:
    """The image with HU as stored where nothing else is declared, which was consented to."""
    return image if _has_rescale(image) else replace(image, slope=1.0, inter=0.0)


def _slice_name(stack: Stack, index: int) -> str:
    where = stack.distances_mm[index]
    return f"slice {index + 1} of {len(stack.order)}, at {where:.3f} mm along the normal,"
