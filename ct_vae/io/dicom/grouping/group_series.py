"""Grouping of all images of a search into volumes.

Images that are not CT slices are skipped with the reason. Images with one series UID are separated
by patient, study, frame of reference and kernel, then by plane. Slices at the same positions are
separated by phase. Whatever remains is refused; no image is dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ct_vae.errors import InputError
from ct_vae.io.dicom.dataset import AGAIN
from ct_vae.io.dicom.geometry import normal_of
from ct_vae.io.dicom.grouping.identity import Subset, by_patient, by_study_and_kernel
from ct_vae.io.dicom.grouping.image_group import MIN_SLICES, ImageGroup
from ct_vae.io.dicom.grouping.interleaving import interleaved_error, interleaved_sets
from ct_vae.io.dicom.grouping.planes import Images, by_plane, is_regular
from ct_vae.io.dicom.grouping.small_subsets import separate_small_subsets
from ct_vae.io.dicom.grouping.volumes import split_into_volumes
from ct_vae.io.dicom.image_header import ImageHeader

_NEEDED = {
    "position": "ImagePositionPatient",
    "orientation": "ImageOrientationPatient",
    "spacing": "PixelSpacing",
}


def group_images(images: Iterable[ImageHeader]) -> list[ImageGroup]:
    """Group images into volumes; several phases become several volumes.

    Returns:
        Volumes, refused groups and skipped groups. Every image is in exactly one of them, as one of
        its images or of its duplicates.
    """
    series: dict[tuple[str, ...], Images] = defaultdict(list)
    skipped: dict[tuple[str, ...], Images] = defaultdict(list)
    for key, image in _with_series(list(images)):
        (skipped if image.skip else series)[*key, image.skip].append(image)
    groups = [group for members in series.values() for group in _split_series(members)]
    for members in skipped.values():
        groups += _of_other_sop_class(members) or [ImageGroup(members, skip=members[0].skip)]
    return groups


def _with_series(images: Images) -> Iterator[tuple[tuple[str, ...], ImageHeader]]:
    """Yield images with a key for their series.

    An image without a series UID belongs to the only series with its study and series number, or
    else to all other images without a series UID there. The folder replaces a missing study.
    """
    known: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for image in images:
        if image.series and not image.skip:
            known[_study_and_number(image)].add(image.series)
    for image in images:
        key = _study_and_number(image)
        uids = known.get(key, set())
        if image.series:
            yield (image.series,), image
        else:
            yield (tuple(uids) if len(uids) == 1 and not image.skip else key), image


def _study_and_number(image: ImageHeader) -> tuple[str, ...]:
    return image.attributes.study or str(image.path.parent), str(image.number)


def _split_series(images: Images) -> list[ImageGroup]:
    nameless = sum(not image.series for image in images)
    notes: tuple[str, ...] = ()
    if nameless:
        notes = (
            f"{nameless} of its {len(images)} images lack a SeriesInstanceUID: images with the "
            "same study (or folder) and series number were read as one series",
        )
    groups = []
    for patient in by_patient(images):
        problem = _missing(patient.images)
        groups += (
            [ImageGroup(patient.images, problem=problem)] if problem else _split_patient(patient)
        )
    several = sum(not group.skip for group in groups) > 1
    return [
        replace(
            group, notes=(*notes, *group.notes), separated_by=group.separated_by if several else ()
        )
        for group in groups
    ]


def _split_patient(patient: Subset) -> list[ImageGroup]:
    """Group the images of one patient and series."""
    subsets = [
        Subset(plane, part.notes, part.separated_by)
        for part in by_study_and_kernel(patient)
        for plane in by_plane(part.images)
    ]
    groups, rest = separate_small_subsets(subsets)
    found = [group for subset in rest for group in split_into_volumes(subset)]
    fit = [i for i, group in enumerate(found) if not group.problem]
    for k in interleaved_sets([list(found[i].images) for i in fit]):
        group = found[fit[k]]
        found[fit[k]] = replace(group, problem=interleaved_error(len(group.images)))
    return groups + found


def _missing(images: Sequence[ImageHeader]) -> InputError | None:
    """Return the error for images without a position or a usable pixel format."""
    for attribute, keyword in _NEEDED.items():
        lacking = sum(getattr(image, attribute) is None for image in images)
        if lacking:
            return InputError(
                f"{lacking} of {len(images)} slices lack {keyword}, so that their position is "
                "unknown",
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


def _of_other_sop_class(images: Images) -> list[ImageGroup]:
    """Group images that are CT slices except for their SOP class.

    Returns:
        The volumes, or an empty list unless all images belong to complete volumes.
    """
    if not all(image.other_sop_class and image.pixels for image in images):
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
