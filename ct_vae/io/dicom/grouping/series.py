"""All images of a search, put together into volumes.

The way of an image: what is no CT slice is set aside with its reason; images of one series UID are
parted by patient, study, frame of reference and kernel, then by plane; slices that take the same
places, by phase; what is left over is refused, never dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ct_vae.errors import InputError
from ct_vae.io.dicom.dataset import AGAIN
from ct_vae.io.dicom.geometry import normal_of
from ct_vae.io.dicom.grouping.group import MIN_SLICES, Group
from ct_vae.io.dicom.grouping.identity import Part, bodies, kinds
from ct_vae.io.dicom.grouping.interleaving import woven_problem, woven_sets
from ct_vae.io.dicom.grouping.leaves import part_leaves
from ct_vae.io.dicom.grouping.planes import Images, by_plane, is_regular
from ct_vae.io.dicom.grouping.resolve import resolve
from ct_vae.io.dicom.image_header import ImageHeader

_NEEDED = {
    "position": "ImagePositionPatient",
    "orientation": "ImageOrientationPatient",
    "spacing": "PixelSpacing",
}


def group_images(images: Iterable[ImageHeader]) -> list[Group]:
    """Put images together that belong to one volume; several phases make several volumes.

    Every image is in exactly one group, as one of its images or of those that repeat them.
    """
    series: dict[tuple[str, ...], Images] = defaultdict(list)
    skipped: dict[tuple[str, ...], Images] = defaultdict(list)
    for key, image in _with_series(list(images)):
        (skipped if image.skip else series)[*key, image.skip].append(image)
    groups = [group for members in series.values() for group in _split_series(members)]
    for members in skipped.values():
        groups += _foreign(members) or [Group(members, skip=members[0].skip)]
    return groups


def _with_series(images: Images) -> Iterator[tuple[tuple[str, ...], ImageHeader]]:
    """Images with what stands for their series.

    One without a series UID belongs to the only series of its study and number, or else to all
    others without one there; where there is no study, the folder stands for it.
    """
    known: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for image in images:
        if image.series and not image.skip:
            known[_stand_in(image)].add(image.series)
    for image in images:
        key = _stand_in(image)
        uids = known.get(key, set())
        if image.series:
            yield (image.series,), image
        else:
            yield (tuple(uids) if len(uids) == 1 and not image.skip else key), image


def _stand_in(image: ImageHeader) -> tuple[str, ...]:
    place = image.marks.study or str(image.path.parent)
    return place, str(image.number)


def _split_series(images: Images) -> list[Group]:
    nameless = sum(not image.series for image in images)
    notes: tuple[str, ...] = ()
    if nameless:
        notes = (
            f"{nameless} of its {len(images)} images lack a SeriesInstanceUID: what has one study "
            "(or lies in one folder) and one series number was taken together",
        )
    groups = []
    for body in bodies(images):
        problem = _missing(body.images)
        groups += [Group(body.images, problem=problem)] if problem else _split_body(body)
    several = sum(not group.skip for group in groups) > 1
    return [
        replace(group, notes=(*notes, *group.notes), apart=group.apart if several else ())
        for group in groups
    ]


def _split_body(body: Part) -> list[Group]:
    """The volumes of one patient in one series, and what is refused or set aside there."""
    leaves = [
        Part(plane, part.notes, part.apart)
        for part in kinds(body)
        for plane in by_plane(part.images)
    ]
    groups, volumes = part_leaves(leaves)
    found = [group for leaf in volumes for group in resolve(leaf)]
    fit = [i for i, group in enumerate(found) if not group.problem]
    for k in woven_sets([list(found[i].images) for i in fit]):
        group = found[fit[k]]
        found[fit[k]] = replace(group, problem=woven_problem(len(group.images)))
    return groups + found


def _missing(images: Sequence[ImageHeader]) -> InputError | None:
    """What no slice can do without."""
    for attribute, keyword in _NEEDED.items():
        lacking = sum(getattr(image, attribute) is None for image in images)
        if lacking:
            return InputError(
                f"{lacking} of {len(images)} slices lack {keyword}, without which their place is "
                "not known",
                AGAIN,
            )
    faults = {image.pixels.fault for image in images if image.pixels is not None} - {""}
    if faults:
        count = sum(bool(image.pixels and image.pixels.fault) for image in images)
        return InputError(f"{count} of {len(images)} slices {'; '.join(sorted(faults))}")
    try:
        for image in images:
            normal_of(image.orientation or ())
    except InputError as error:
        return error
    return None


def _foreign(images: Images) -> list[Group]:
    """Volumes of images that only their SOP class bars, if all of them are whole; else none."""
    if not all(image.foreign and image.pixels for image in images):
        return []
    groups = _split_series(images)
    whole = all(
        not group.skip
        and not group.problem
        and len(group.images) >= MIN_SLICES
        and is_regular(group.images)
        for group in groups
    )
    return groups if whole else []
