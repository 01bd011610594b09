"""Separation of the slices of one plane into volumes with one slice per position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ct_vae.errors import InputError
from ct_vae.io.dicom.dataset import AGAIN
from ct_vae.io.dicom.grouping.attribute_values import ATTRIBUTE_NAMES, by_attribute
from ct_vae.io.dicom.grouping.duplicates import are_duplicates, without_duplicates
from ct_vae.io.dicom.grouping.identity import Subset
from ct_vae.io.dicom.grouping.image_group import MIN_SLICES, ImageGroup
from ct_vae.io.dicom.grouping.interleaving import interleaved_attribute, interleaved_error
from ct_vae.io.dicom.grouping.phases import Sets, by_attributes, by_instance_number, by_time
from ct_vae.io.dicom.grouping.planes import (
    Images,
    distances_of,
    group_by_position,
    is_regular,
    plane_note,
    plane_problem,
)

_SHOWN = 8
# Attributes that separate contiguous blocks of slices that together form no regular grid.
_BLOCK_ATTRIBUTES = ("stack", "acquisition")


def split_into_volumes(subset: Subset) -> list[ImageGroup]:
    """Separate the slices of one plane into volumes.

    Returns:
        Volumes and refused groups. Every image is in exactly one of them, as one of its images or
        of its duplicates.
    """
    images = subset.images
    if problem := plane_problem(images):
        return [_group(subset, images, problem)]
    if len(group_by_position(images)) == len(images):
        return _split_blocks(subset)
    try:
        return _split_overlapping(subset)
    except InputError as error:
        return [_group(subset, images, error)]


def _group(subset: Subset, images: Images, problem: InputError | None = None) -> ImageGroup:
    note = "" if problem else plane_note(images)
    notes = (*subset.notes, note) if note else subset.notes
    return ImageGroup(images, problem=problem, notes=notes, separated_by=subset.separated_by)


def _split_blocks(subset: Subset) -> list[ImageGroup]:
    """Separate slices at distinct positions into contiguous blocks if they are not regular."""
    images = subset.images
    attribute = interleaved_attribute(images)
    if attribute:
        return [_group(subset, images, interleaved_error(len(images), attribute))]
    if len(images) < MIN_SLICES or is_regular(images):
        return [_group(subset, images)]
    for name in _BLOCK_ATTRIBUTES:
        sets = list(by_attribute(images, name).values())
        if len(sets) > 1 and all(len(each) >= MIN_SLICES and is_regular(each) for each in sets):
            separated_by = (*subset.separated_by, ATTRIBUTE_NAMES[name])
            return [_group(Subset(each, subset.notes, separated_by), each) for each in sets]
    return [_group(subset, images)]


def _split_overlapping(subset: Subset) -> list[ImageGroup]:
    """Separate slices of which several are at the same position.

    Raises:
        InputError: If no attribute separates them.
    """
    kept, duplicates = subset.images, []
    found = _first_split(kept, (by_attributes, by_time))
    for same_attributes in (True, False):
        if found:
            break
        kept, again = without_duplicates(kept, same_attributes=same_attributes)
        duplicates += again
        if len(group_by_position(kept)) == len(kept):
            found = [kept], ()
        else:
            found = _first_split(kept, (by_attributes, by_time))
    found = found or _first_split(kept, (by_instance_number, _by_location))
    if not found:
        raise _conflict(kept)
    return _groups_of_sets(Subset(kept, subset.notes, subset.separated_by), found, duplicates)


def _first_split(images: Images, ways: Sequence[Callable[[Images], Sets | None]]) -> Sets | None:
    return next(filter(None, (way(images) for way in ways)), None)


def _by_location(images: Images) -> Sets | None:
    return by_attributes(images, ("folder", "file"))


def _groups_of_sets(subset: Subset, found: Sets, duplicates: Images) -> list[ImageGroup]:
    """Make groups of sets of slices, and drop sets that duplicate a complete one."""
    sets, names = found
    positions = group_by_position(subset.images)
    complete = [each for each in sets if len(each) == len(positions)]
    partial = []
    for each in sets:
        if len(each) == len(positions):
            continue
        if complete and are_duplicates(each, complete):
            duplicates = [*duplicates, *each]
        else:
            partial.append(each)
    separated_by = subset.separated_by
    if len(complete) + len(partial) > 1:
        separated_by = (*separated_by, *names)
    groups: list[ImageGroup] = []
    for each in complete:
        groups += _split_blocks(Subset(each, subset.notes, separated_by))
    for each in partial:
        part = Subset(each, subset.notes, separated_by)
        error = _incomplete_error(each, positions) if complete else None
        groups += (
            [replace(_group(part, each, error), redundant=True)] if error else _split_blocks(part)
        )
    return _with_duplicates(groups, duplicates)


def _with_duplicates(groups: list[ImageGroup], duplicates: Images) -> list[ImageGroup]:
    if not duplicates:
        return groups
    first, *others = groups
    note = f"{len(duplicates)} exact duplicates of slices were ignored"
    return [replace(first, notes=(*first.notes, note), duplicates=duplicates), *others]


def _incomplete_error(images: Images, positions: Sequence[Images]) -> InputError | None:
    """Return the error for a set without some positions, or ``None`` if it is a smaller volume.

    A set that begins and ends within the range of the others was acquired like that. A set that
    reaches one end of the range was cut short.
    """
    own = {id(image) for image in images}
    taken = [k for k, each in enumerate(positions) if any(id(image) in own for image in each)]
    inner = taken[0] > 0 and taken[-1] < len(positions) - 1
    if inner and len(images) >= MIN_SLICES:
        return None
    return InputError(
        f"an incomplete set of slices: it has {len(images)} of the {len(positions)} positions of "
        "the others"
    )


def _conflict(images: Images) -> InputError:
    positions = group_by_position(images)
    if len(positions) == 1:
        at = float(distances_of(images)[0])
        cause = f"all of its {len(images)} slices are at one position, {at:.3f} mm along the normal"
        return InputError(cause, AGAIN)
    twice = [float(distances_of(each)[0]) for each in positions if len(each) > 1]
    shown = ", ".join(f"{at:.3f}" for at in twice[:_SHOWN])
    more = f" and {len(twice) - _SHOWN} more positions" if len(twice) > _SHOWN else ""
    return InputError(
        f"slices with different pixels are at the same position: {shown} mm{more}",
        "move the unwanted ones to another folder",
    )
