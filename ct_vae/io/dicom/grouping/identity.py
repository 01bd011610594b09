"""Separation of images with one SeriesInstanceUID by patient, study and reconstruction.

Some anonymizers assign one series UID to several patients. Conversely, some archives assign a new
frame of reference to every slice of a volume. An attribute therefore separates images only if
several images share each of its values: attributes that are absent from some images, or unique for
every image, are ignored.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ct_vae.io.dicom.geometry import LEAST_TOLERANCE_MM
from ct_vae.io.dicom.grouping.attribute_values import ATTRIBUTE_NAMES, by_attribute
from ct_vae.io.dicom.grouping.image_group import MIN_SLICES
from ct_vae.io.dicom.image_header import ImageHeader

Images = list[ImageHeader]

_PATIENT = ("patient", "name")
_STUDY_AND_KERNEL = ("study", "frame_of_reference", "kernel", "stack")
# Identifiers that some archives generate anew for every file.
_PER_FILE = {"patient", "name", "study", "frame_of_reference"}


@dataclass(frozen=True)
class Subset:
    """Images of one series that the attributes checked so far do not separate.

    Attributes:
        images: Headers of the images.
        notes: Oddities and how they were resolved, one line each.
        separated_by: Names of the attributes that separate these images from others of the series.
    """

    images: Images
    notes: tuple[str, ...] = ()
    separated_by: tuple[str, ...] = ()


def by_patient(images: Sequence[ImageHeader]) -> list[Subset]:
    """Separate images with one series UID by patient.

    Folders separate patients whose identifiers are the same, if instance numbers restart in each
    folder.
    """
    subsets = [Subset(list(images))]
    for name in _PATIENT:
        subsets = [part for subset in subsets for part in split(subset, name)]
    return [part for subset in _rejoin_few(subsets) for part in _by_folder(subset)]


def by_study_and_kernel(subset: Subset) -> list[Subset]:
    """Separate the images of one patient by study, frame of reference, kernel and stack.

    Single images of another patient, which `by_patient` leaves in place, are separated as well.
    """
    subsets = [subset]
    for name in (*_PATIENT, *_STUDY_AND_KERNEL):
        subsets = [part for each in subsets for part in split(each, name)]
    return subsets


def split(subset: Subset, name: str) -> list[Subset]:
    """Separate images by an attribute, unless its values carry no information."""
    sets = by_attribute(subset.images, name)
    named = [value for value in sets if value]
    if len(named) < 2:
        return [subset]
    count = sum(len(sets[value]) for value in named)
    if name in _PER_FILE and len(named) == count:
        note = (
            f"{count} of its {len(subset.images)} images each have a different "
            f"{ATTRIBUTE_NAMES[name]}, and were read as one volume"
        )
        notes = tuple(dict.fromkeys((*subset.notes, note)))
        return [Subset(subset.images, notes, subset.separated_by)]
    # Some writers assign stack ids slice by slice.
    if name == "stack" and min(map(len, sets.values())) < MIN_SLICES:
        return [subset]
    return _parts(subset, sets, name)


def _parts(subset: Subset, sets: dict[str, Images], name: str) -> list[Subset]:
    separated_by = (*subset.separated_by, ATTRIBUTE_NAMES[name])
    return [Subset(images, subset.notes, separated_by) for images in sets.values()]


def _rejoin_few(subsets: list[Subset]) -> list[Subset]:
    """Rejoin small subsets with the largest subset in the same folder.

    A single damaged byte in a patient's name must not remove a slice from its volume unnoticed.
    """
    subsets = sorted(subsets, key=lambda each: (-len(each.images), each.images[0].attributes))
    large = [each for each in subsets if len(each.images) >= MIN_SLICES]
    joined = [list(each.images) for each in large]
    folders = [{image.path.parent for image in each.images} for each in large]
    alone = []
    for subset in subsets[len(large) :]:
        own = {image.path.parent for image in subset.images}
        host = next((i for i, other in enumerate(folders) if own & other), None)
        if host is None:
            alone.append(subset)
        else:
            joined[host] += subset.images
    rejoined = [
        Subset(images, each.notes, each.separated_by)
        for images, each in zip(joined, large, strict=True)
    ]
    return rejoined + alone


def _by_folder(subset: Subset) -> list[Subset]:
    """Separate images by folder if the same instance numbers occur at different positions."""
    positions: dict[Path, dict[int, tuple[float, ...]]] = defaultdict(dict)
    for image in subset.images:
        if image.instance is not None and image.position is not None:
            positions[image.path.parent][image.instance] = image.position
    if not any(_clash(a, b) for a, b in combinations(positions.values(), 2)):
        return [subset]
    return _parts(subset, by_attribute(subset.images, "folder"), "folder")


def _clash(a: dict[int, tuple[float, ...]], b: dict[int, tuple[float, ...]]) -> bool:
    """Return whether several instance numbers occur at different positions in two folders."""
    moved = [math.dist(a[number], b[number]) for number in a.keys() & b.keys()]
    return sum(distance > LEAST_TOLERANCE_MM for distance in moved) >= MIN_SLICES
