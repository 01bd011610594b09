"""Reading of a group of images as a volume, with checks of the headers before the voxels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ct_vae.errors import InputError
from ct_vae.grid import MAX_VOXELS
from ct_vae.io.dicom.dataset import AGAIN
from ct_vae.io.dicom.geometry import Stack
from ct_vae.io.dicom.grouping.image_group import MIN_SLICES, ImageGroup
from ct_vae.io.dicom.grouping.planes import stack_of
from ct_vae.io.dicom.image_header import ImageHeader
from ct_vae.io.dicom.irregularity import in_their_places
from ct_vae.io.dicom.pixel_format import declared_fault, excess_bytes
from ct_vae.io.dicom.pixels import read_hounsfield
from ct_vae.io.hounsfield.build import hounsfield_volume
from ct_vae.io.hounsfield.regular_grid import resample_to_regular_grid
from ct_vae.io.hounsfield.rescale import Scaling
from ct_vae.io.read_options import ReadOptions
from ct_vae.volume import Volume

# Units that are HU, without separators; many writers use "unspecified".
_UNITS = {"", "HU", "HUMOD", "US", "UNSPECIFIED", "HOUNSFIELD", "HOUNSFIELDUNIT", "HOUNSFIELDUNITS"}
# Value of padding until the last step, which replaces all values below -1400 HU by air.
_PADDING_HU = -3024


def check_group(group: ImageGroup, options: ReadOptions) -> Stack:
    """Check the headers of a group.

    Returns:
        The sorted slices and their grid; with ``resample_irregular`` they may be irregular.

    Raises:
        InputError: If the group cannot be read correctly.
    """
    if group.problem:
        raise InputError(group.problem.cause, group.problem.hint)
    images = group.images
    first = images[0]
    assert first.pixels
    if group.other_sop_class and not options.any_sop_class:
        raise InputError(
            f"its images have the geometry of a CT volume, but are {first.skip}",
            "--any-sop-class reads them if their pixels are original CT values",
        )
    _check_rescale(images, options)
    count = first.pixels.rows * first.pixels.columns * len(images)
    if count > MAX_VOXELS:
        raise InputError(f"declares {count} voxels, more than 2^31")
    stack = stack_of(images)
    for k, index in enumerate(stack.order):
        image = images[index]
        if fault := declared_fault(image.place, image.pixels, image.frames):
            raise InputError(f"{_slice_name(stack, k)} {fault}", AGAIN)
    if stack.fault and not options.resample_irregular:
        raise stack.fault
    return stack


def read_group(group: ImageGroup, options: ReadOptions) -> Volume:
    """Read the voxels of a group.

    Raises:
        InputError: If the group is refused, truncated, damaged, or not CT in HU.
    """
    from pydicom.uid import UID

    stack = check_group(group, options)
    if options.frame:
        raise InputError(f"has one time point, but frame {options.frame} was requested")
    images = [_rescaled(group.images[index]) for index in stack.order]
    # hu_offset is added later and must not raise padding above its threshold.
    padding_hu = float(np.clip(np.floor(_PADDING_HU - options.hu_offset), -32768, -1401))
    voxels = read_hounsfield(images, lambda k: _slice_name(stack, k), padding_hu)
    syntaxes = sorted({UID(image.place.syntax).keyword for image in images if image.place})
    facts = {"format": "dicom", "slices": len(images), "transfer_syntaxes": syntaxes}
    notes = [*group.remarks, *filter(None, [stack.note]), *_remarks(group.images, options)]
    volume = hounsfield_volume(voxels, Scaling(), stack.grid, options, facts, notes)
    if not stack.fault:
        return volume
    offsets = in_their_places(stack.offsets_mm, min(stack.grid.spacing_mm[:2]))
    return resample_to_regular_grid(volume, offsets)


def _check_rescale(images: Sequence[ImageHeader], options: ReadOptions) -> None:
    lacking = sum(not _has_rescale(image) for image in images)
    if lacking and not options.assume_hu:
        raise InputError(
            f"{lacking} of {len(images)} slices lack RescaleSlope or RescaleIntercept, so that "
            "their HU are unknown",
            "--assume-hu reads their stored values as HU",
        )
    if any(image.slope == 0 for image in images):
        raise InputError("a slice has a RescaleSlope of 0", AGAIN)
    units = {re.sub(r"[\s_.-]", "", image.unit) for image in images}
    if units - _UNITS and not options.force:
        raise InputError(
            "its values have another unit than HU (RescaleType)",
            "--force reads them if they are in HU",
        )


def _remarks(images: Sequence[ImageHeader], options: ReadOptions) -> list[str]:
    notes = []
    if len(images) == 1:
        notes.append(f"is one slice; its thickness of {images[0].thickness:g} mm is the spacing")
    elif len(images) < MIN_SLICES:
        notes.append(f"has only {len(images)} slices")
    if images[0].other_sop_class:
        notes.append(f"its images are {images[0].skip}, and were read as CT images")
    places = [image.place for image in images if image.place]
    if any(place.declared not in ("", place.syntax) for place in places):
        notes.append("the transfer syntax in its meta header is wrong; that of its data was used")
    excess = max(excess_bytes(i.place, i.pixels, i.frames) for i in images)
    if excess:
        notes.append(f"up to {excess} bytes after the pixels of a file were ignored")
    if options.assume_hu and not all(map(_has_rescale, images)):
        notes.append("there is no rescale in the headers: stored values were read as HU")
    if any(image.pixels and image.pixels.lossy for image in images):
        notes.append("the pixels are the result of lossy compression")
    return notes


def _has_rescale(image: ImageHeader) -> bool:
    return image.slope is not None and image.inter is not None


def _rescaled(image: ImageHeader) -> ImageHeader:
    """Return the image with an identity rescale if it has none, as the options permit."""
    return image if _has_rescale(image) else replace(image, slope=1.0, inter=0.0)


def _slice_name(stack: Stack, index: int) -> str:
    where = stack.distances_mm[index]
    return f"slice {index + 1} of {len(stack.order)}, at {where:.3f} mm along the normal,"
