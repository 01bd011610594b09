"""Images of one series UID by who and what they show, where their headers tell it apart.

Anonymizers give several patients one series UID, and archives give every slice of one volume a
frame of reference of its own. A mark that images share in groups separates them; one that differs
in every image, or is absent from some, says nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ct_vae.io.dicom.geometry import LEAST_TOLERANCE_MM
from ct_vae.io.dicom.grouping.group import MIN_SLICES
from ct_vae.io.dicom.grouping.mark_values import NAMES, by_mark
from ct_vae.io.dicom.image_header import ImageHeader

Images = list[ImageHeader]

_BODY = ("patient", "name")
_KIND = ("study", "frame_of_reference", "kernel", "stack")
# Identifiers that some archives make anew for every file.
_PER_FILE = {"patient", "name", "study", "frame_of_reference"}


@dataclass(frozen=True)
class Part:
    """Images of a series that nothing in their headers tells apart so far.

    Attributes:
        images: Their headers.
        notes: What was settled, one line each.
        apart: Names of the marks by which they differ from others of their series.
    """

    images: Images
    notes: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()


def bodies(images: Sequence[ImageHeader]) -> list[Part]:
    """Images of one series UID by patient, also where only folders tell patients apart."""
    parts = [Part(list(images))]
    for name in _BODY:
        parts = [piece for part in parts for piece in split(part, name)]
    return [piece for part in _with_their_few(parts) for piece in _by_folder(part)]


def kinds(body: Part) -> list[Part]:
    """Images of one patient by study, frame of reference, reconstruction kernel and stack.

    A few images of another patient among them are told apart as well.
    """
    parts = [body]
    for name in (*_BODY, *_KIND):
        parts = [piece for part in parts for piece in split(part, name)]
    return parts


def split(part: Part, name: str) -> list[Part]:
    """A part by one of its marks, if that tells its images apart."""
    sets = by_mark(part.images, name)
    named = [value for value in sets if value]
    if len(named) < 2:
        return [part]
    count = sum(len(sets[value]) for value in named)
    if name in _PER_FILE and len(named) == count:
        note = (
            f"{count} of its {len(part.images)} images have a {NAMES[name]} of their own, which "
            "was taken for one"
        )
        return [Part(part.images, tuple(dict.fromkeys((*part.notes, note))), part.apart)]
    # Some writers number stacks by slice.
    if name == "stack" and min(map(len, sets.values())) < MIN_SLICES:
        return [part]
    return [Part(each, part.notes, (*part.apart, NAMES[name])) for each in sets.values()]


def _with_their_few(parts: list[Part]) -> list[Part]:
    """Parts of patients, those of few images with the large one that lies in the same folder.

    One damaged byte makes another patient of a slice, which then is missing from its volume.
    """
    parts = sorted(parts, key=lambda part: (-len(part.images), part.images[0].marks))
    large = [part for part in parts if len(part.images) >= MIN_SLICES]
    found = [list(part.images) for part in large]
    alone = []
    for part in parts:
        if len(part.images) >= MIN_SLICES:
            continue
        folders = {image.path.parent for image in part.images}
        hosts = [
            i for i, host in enumerate(large) if folders & {k.path.parent for k in host.images}
        ]
        if hosts:
            found[hosts[0]] += part.images
        else:
            alone.append(part)
    joined = [Part(f, part.notes, part.apart) for f, part in zip(found, large, strict=True)]
    return joined + alone


def _by_folder(part: Part) -> list[Part]:
    """By folder, if instance numbers are given anew in each, so that nothing else can be one."""
    places: dict[Path, dict[int, tuple[float, ...]]] = defaultdict(dict)
    for image in part.images:
        if image.instance is not None and image.position is not None:
            places[image.path.parent][image.instance] = image.position
    if not any(_clash(a, b) for a, b in combinations(places.values(), 2)):
        return [part]
    sets = by_mark(part.images, "folder")
    return [Part(each, part.notes, (*part.apart, NAMES["folder"])) for each in sets.values()]


def _clash(a: dict[int, tuple[float, ...]], b: dict[int, tuple[float, ...]]) -> bool:
    """Whether images of one number lie at different places, more than by chance."""
    moved = [math.dist(a[number], b[number]) for number in a.keys() & b.keys()]
    return sum(distance > LEAST_TOLERANCE_MM for distance in moved) >= MIN_SLICES
