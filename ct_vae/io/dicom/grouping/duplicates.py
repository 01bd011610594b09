"""Slices that are there more than once with the same pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ct_vae.errors import InputError
from ct_vae.io.dicom.codecs.gdcm_pool import Gdcm
from ct_vae.io.dicom.dataset import AGAIN
from ct_vae.io.dicom.file import quiet
from ct_vae.io.dicom.grouping.planes import Images, distances_of, places_of
from ct_vae.io.dicom.image_header import ImageHeader
from ct_vae.io.dicom.pixel_format import declared_fault
from ct_vae.io.dicom.pixels import iterate_slices, outside_view


def without_doubles(images: Images, *, same_marks: bool) -> tuple[Images, Images]:
    """Keep one image of those that show the same at the same place.

    Args:
        images: Of one plane.
        same_marks: Whether only images of equal marks count as the same.

    Returns:
        What is kept and what repeats it, neither of which depends on the order of files.

    Raises:
        InputError: If pixels cannot be read.
    """
    kept: Images = []
    repeats: Images = []
    for place in places_of(images):
        seen = set()
        for image in sorted(place, key=lambda i: (i.uid, i.path, i.frame)):
            content = content_of(image) if len(place) > 1 else ""
            mark = (content, image.marks if same_marks else ())
            (repeats if mark in seen else kept).append(image)
            seen.add(mark)
    return kept, repeats


def repeat(images: Images, others: Sequence[Images]) -> bool:
    """Whether each image is the same as one at its place in one of the other sets.

    Raises:
        InputError: If pixels cannot be read.
    """
    everything = [image for each in (images, *others) for image in each]
    own = set(map(id, images))
    for place in places_of(everything):
        wanted = {content_of(image) for image in place if id(image) in own}
        if wanted and not wanted <= {content_of(i) for i in place if id(i) not in own}:
            return False
    return True


def content_of(image: ImageHeader) -> str:
    """A hash of what a slice shows in HU, and of where it lies in its plane.

    Raises:
        InputError: If its pixels are cut or damaged.
    """
    if fault := declared_fault(image.place, image.pixels, image.frames):
        at = float(distances_of([image])[0])
        raise InputError(f"a slice at {at:.3f} mm {fault}", AGAIN)
    digest = hashlib.sha256(repr([round(x, 3) for x in image.position or ()]).encode())
    with quiet(), Gdcm() as gdcm:
        for _, values in iterate_slices([image], gdcm):
            hounsfield = values.stored * np.float64(image.slope or 1) + np.float64(image.inter or 0)
            outside = None
            if image.slope is not None and image.inter is not None:
                outside = outside_view(values, image)
            if outside is not None:
                hounsfield[outside] = np.inf
            digest.update((hounsfield + 0.0).tobytes())
    return digest.hexdigest()
