"""Separation of slices at the same positions: phases, acquisitions and reconstructions.

An attribute separates them if every resulting set has at most one slice per position and at least
one set is complete. If times differ between slices, the order of times at each position is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from ct_vae.grid import FloatArray
from ct_vae.io.dicom.grouping.attribute_values import (
    ATTRIBUTE_NAMES,
    PHASE_ATTRIBUTES,
    attribute_of,
    by_attribute,
)
from ct_vae.io.dicom.grouping.image_group import MIN_SLICES
from ct_vae.io.dicom.grouping.planes import Images, group_by_position, is_regular
from ct_vae.io.dicom.image_header import ImageHeader

# Sets of slices, and the names of the attributes that separate them.
Sets = tuple[list[Images], tuple[str, ...]]
Frame = tuple[Path, int]
Values = dict[Frame, float]
# Twelve hours as a DICOM time, which has two digits each for hours, minutes and seconds.
_HALF_A_DAY = 120000


def by_attributes(images: Images, names: Sequence[str] = PHASE_ATTRIBUTES) -> Sets | None:
    """Separate images by the first attributes that leave one slice per position in every set.

    Args:
        images: Slices of one plane, several of them at the same position.
        names: Attributes to try, in this order.
    """
    if len(group_by_position(images)) == len(images):
        return [images], ()
    for k, name in enumerate(names):
        values = by_attribute(images, name)
        # An attribute that is different for nearly every image does not define sets.
        if not 1 < len(values) <= len(images) // 2:
            continue
        rest = [*names[:k], *names[k + 1 :]]
        found = [by_attributes(each, rest) for each in values.values()]
        solved = [sets for sets in found if sets is not None]
        sets = [each for part, _ in solved for each in part]
        if len(solved) == len(found) and _are_valid_volumes(images, sets, list(values.values())):
            deeper = dict.fromkeys(word for _, words in solved for word in words)
            return sets, (ATTRIBUTE_NAMES[name], *deeper)
    return None


def by_time(images: Images) -> Sets | None:
    """Separate images by times that differ between slices.

    Either every position has the same number of slices, and the k-th time at each position belongs
    to set k, or all positions are scanned before any is scanned again. Times must rise or fall
    along the normal within every set.
    """
    for name in ("trigger_time", "acquisition_time"):
        times = _times(images, name)
        sets = times and (_by_rank(images, times) or _by_rounds(images, times))
        if sets and all(_is_in_order(each, times) for each in sets):
            return sets, (ATTRIBUTE_NAMES[name],)
    return None


def by_instance_number(images: Images) -> Sets | None:
    """Separate images by content time or instance number, if these run through all positions."""
    numbers = {frame_of(i): float(i.instance) for i in images if i.instance is not None}
    for name, values in (("content_time", _times(images, "content_time")), ("instance", numbers)):
        sets = _by_rounds(images, values) if len(values) == len(images) else None
        if sets and all(_is_in_order(each, values) for each in sets):
            return sets, (ATTRIBUTE_NAMES[name],)
    return None


def frame_of(image: ImageHeader) -> Frame:
    """Return a key that is unique for every image."""
    return image.path, image.frame


def _are_valid_volumes(images: Images, sets: Sequence[Images], values: Sequence[Images]) -> bool:
    """Return whether a set covers all positions, or every set is a volume at its own positions.

    Args:
        images: All images.
        sets: Sets with one slice per position.
        values: Images by the value of the attribute that is tried.
    """
    positions = group_by_position(images)
    if len(positions) < 2 or len(sets) < 2:
        return False
    if any(len(each) == len(positions) for each in sets):
        return True
    # Two values at identical positions are passes over a part of the positions.
    index_of = {frame_of(image): k for k, each in enumerate(positions) for image in each}
    taken = {frozenset(index_of[frame_of(image)] for image in each) for each in values}
    regular = all(len(each) >= MIN_SLICES and is_regular(each) for each in sets)
    return regular and len(taken) == len(values)


def _by_rank(images: Images, values: Values) -> list[Images] | None:
    """Return the images with the lowest value at each position, then the second lowest, etc."""
    positions = [
        sorted(each, key=lambda i: values[frame_of(i)]) for each in group_by_position(images)
    ]
    if len({len(each) for each in positions}) > 1 or len(positions) < 2:
        return None
    times = np.array([[values[frame_of(image)] for image in each] for each in positions])
    if (np.diff(times, axis=1) <= 0).any() or not _in_step(times):
        return None
    return [list(each) for each in zip(*positions, strict=True)]


def _in_step(times: FloatArray) -> bool:
    """Return whether each pass ends before the next begins, for all positions or block by block.

    Args:
        times: ``(positions, passes)``, ascending along the second axis.
    """
    order = times[np.argsort(times[:, 0], kind="stable")]
    begin = 0
    for end in range(1, len(order) + 1):
        # A block ends where the next position is scanned only after all passes.
        if end < len(order) and order[end, 0] <= order[begin:end].max():
            continue
        block = order[begin:end]
        if (block[:, :-1].max(axis=0) >= block[:, 1:].min(axis=0)).any():
            return False
        begin = end
    return True


def _by_rounds(images: Images, values: Values) -> list[Images] | None:
    """Sort images by a value and start a new set whenever all positions have been visited.

    The last set may be incomplete if its positions are contiguous and include the first or last.
    """
    positions = group_by_position(images)
    index_of = {frame_of(image): k for k, each in enumerate(positions) for image in each}
    order = sorted(images, key=lambda i: values[frame_of(i)])
    rounds = [order[k : k + len(positions)] for k in range(0, len(order), len(positions))]
    for before, after in pairwise(rounds):
        if values[frame_of(before[-1])] == values[frame_of(after[0])]:
            return None
    taken = [sorted(index_of[frame_of(image)] for image in each) for each in rounds]
    full = list(range(len(positions)))
    last = taken[-1]
    if len(positions) < 2 or any(each != full for each in taken[:-1]):
        return None
    return rounds if last in (full[: len(last)], full[-len(last) :]) else None


def _is_in_order(images: Images, values: Values) -> bool:
    """Return whether a value rises or falls monotonically along the normal."""
    steps = np.diff([values[frame_of(place[0])] for place in group_by_position(images)])
    return bool((steps >= 0).all() or (steps <= 0).all())


def _times(images: Images, name: str) -> Values:
    """Return times as increasing numbers; empty if an image has none."""
    found: Values = {}
    for image in images:
        try:
            found[frame_of(image)] = float(attribute_of(image, name))
        except ValueError:
            return {}
    if name == "trigger_time" or max(found.values()) - min(found.values()) < _HALF_A_DAY:
        return found
    # The scan continues after midnight.
    return {k: v + 2 * _HALF_A_DAY if v < _HALF_A_DAY else v for k, v in found.items()}
