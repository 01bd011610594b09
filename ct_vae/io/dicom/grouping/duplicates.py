"""Detection of slices with identical pixels at the same position."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ct_vae.errors import InputError
from ct_vae.io.dicom.codecs.gdcm_pool import Gdcm
from ct_vae.io.dicom.dataset import AGAIN
from ct_vae.io.dicom.file import quiet
from ct_vae.io.dicom.grouping.planes import Images, distances_of, group_by_position
from ct_vae.io.dicom.image_header import ImageHeader
from ct_vae.io.dicom.padding import outside_view
from ct_vae.io.dicom.pixel_format import declared_fault
from ct_vae.io.dicom.pixels import iterate_slices


def without_duplicates(images: Images, *, same_attributes: bool) -> tuple[Images, Images]:
    """Keep one of several identical images at the same position.

    Args:
        images: Slices of one plane.
        same_attributes: True if images count as identical only if their attributes agree.

    Returns:
        The images that are kept and their duplicates, independent of the order of files.

    Raises:
        InputError: If pixels cannot be read.
    """
    kept: Images = []
    duplicates: Images = []
    for position in group_by_position(images):
        seen = set()
        for image in sorted(position, key=lambda i: (i.uid, i.path, i.frame)):
            content = content_of(image) if len(position) > 1 else ""
            key = (content, image.attributes if same_attributes else ())
            (duplicates if key in seen else kept).append(image)
            seen.add(key)
    return kept, duplicates


def are_duplicates(images: Images, others: Sequence[Images]) -> bool:
    """Return whether every image is identical to an image of the other sets at its position.

    Raises:
        InputError: If pixels cannot be read.
    """
    everything = [image for each in (images, *others) for image in each]
    own = set(map(id, images))
    for position in group_by_position(everything):
        wanted = {content_of(image) for image in position if id(image) in own}
        if wanted and not wanted <= {content_of(i) for i in position if id(i) not in own}:
            return False
    return True


def content_of(image: ImageHeader) -> str:
    """Return a hash of the HU values of a slice and of its position.

    Raises:
        InputError: If the pixels are truncated or damaged.
    """
    if fault := declared_fault(image.place, image.pixels, image.frames):
        at = float(distances_of([image])[0])
        raise InputError(f"a slice at {at:.3f} mm {fault}", AGAIN)
    digest = hashlib.sha256(repr([round(x, 3) for x in image.position or ()]).encode())
    with quiet(), Gdcm() as gdcm:
        for _, values in iterate_slices([image], gdcm):
            hounsfield = values.stored * np.float64(image.slope or 1) + np.float64(image.inter or 0)
            outside = None
            if image.pixels and image.slope is not None and image.inter is not None:
                ends = image.pixels.padding
                outside = outside_view(values.padding, ends, image.slope, image.inter)
            if outside is not None:
                hounsfield[outside] = np.inf
            digest.update((hounsfield + 0.0).tobytes())
    return digest.hexdigest()
