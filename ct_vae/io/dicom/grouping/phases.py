"""Sets of slices that take the same places: phases, acquisitions and reconstructions of one body.

A mark tells them apart if it leaves no place taken twice, and if at least one set is whole. Where
times differ from slice to slice, the order of times at each place does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from ct_vae.grid import FloatArray
from ct_vae.io.dicom.grouping.group import MIN_SLICES
from ct_vae.io.dicom.grouping.mark_values import NAMES, SEPARATORS, by_mark, mark_of
from ct_vae.io.dicom.grouping.planes import Images, is_regular, places_of
from ct_vae.io.dicom.image_header import ImageHeader

# Sets of slices, and by what they were told apart.
Sets = tuple[list[Images], tuple[str, ...]]
Frame = tuple[Path, int]
Values = dict[Frame, float]
# In the numbers of DICOM's times, hours, minutes and seconds in two digits each.
_HALF_A_DAY = 120000


def by_marks(images: Images, names: Sequence[str] = SEPARATORS) -> Sets | None:
    """Sets by the first marks that tell images apart so that each takes every place once.

    Args:
        images: Of one plane; some lie at the same place.
        names: Of the marks to try, in this order.
    """
    if len(places_of(images)) == len(images):
        return [images], ()
    for k, name in enumerate(names):
        values = by_mark(images, name)
        # A value for every image is a time, which is looked at as such.
        if not 1 < len(values) <= len(images) // 2:
            continue
        rest = [*names[:k], *names[k + 1 :]]
        found = [by_marks(each, rest) for each in values.values()]
        whole = [sets for sets in found if sets is not None]
        sets = [each for part, _ in whole for each in part]
        if len(whole) == len(found) and _are_volumes(images, sets, list(values.values())):
            deeper = dict.fromkeys(word for _, words in whole for word in words)
            return sets, (NAMES[name], *deeper)
    return None


def by_time(images: Images) -> Sets | None:
    """Sets by times that differ from slice to slice, and rise or fall from place to place.

    Either every place is taken equally often, so that the k-th time at each makes a set, or the
    places are taken one after another, all of them before any is taken again.
    """
    for name in ("trigger_time", "acquisition_time"):
        times = _times(images, name)
        sets = times and (_by_rank(images, times) or _by_rounds(images, times))
        if sets and all(_is_in_order(each, times) for each in sets):
            return sets, (NAMES[name],)
    return None


def by_count(images: Images) -> Sets | None:
    """Sets by content time or instance number, if these go through all places again and again."""
    numbers = {frame_of(i): float(i.instance) for i in images if i.instance is not None}
    for name, values in (("content_time", _times(images, "content_time")), ("instance", numbers)):
        sets = _by_rounds(images, values) if len(values) == len(images) else None
        if sets and all(_is_in_order(each, values) for each in sets):
            return sets, (NAMES[name],)
    return None


def frame_of(image: ImageHeader) -> Frame:
    """What tells an image from all others."""
    return image.path, image.frame


def _are_volumes(images: Images, sets: Sequence[Images], values: Sequence[Images]) -> bool:
    """Whether some sets take all places, or each is a volume of places of its own.

    Args:
        images: All of them.
        sets: Take each place once.
        values: Images by the mark that is tried, of which the sets are parts.
    """
    places = places_of(images)
    if len(places) < 2 or len(sets) < 2:
        return False
    if any(len(each) == len(places) for each in sets):
        return True
    # Two values at the very same places are passes over a part of the places.
    place_of = {frame_of(image): k for k, each in enumerate(places) for image in each}
    taken = {frozenset(place_of[frame_of(image)] for image in each) for each in values}
    regular = all(len(each) >= MIN_SLICES and is_regular(each) for each in sets)
    return regular and len(taken) == len(values)


def _by_rank(images: Images, values: Values) -> list[Images] | None:
    """The images with the lowest value at each place, then those with the second lowest, ..."""
    places = [sorted(each, key=lambda i: values[frame_of(i)]) for each in places_of(images)]
    if len({len(each) for each in places}) > 1 or len(places) < 2:
        return None
    times = np.array([[values[frame_of(image)] for image in each] for each in places])
    if (np.diff(times, axis=1) <= 0).any() or not _in_step(times):
        return None
    return [list(each) for each in zip(*places, strict=True)]


def _in_step(times: FloatArray) -> bool:
    """Whether all places are passed once before the next pass begins, or in blocks one by one.

    Args:
        times: Ascending at each place, ``(places, passes)``.
    """
    order = times[np.argsort(times[:, 0], kind="stable")]
    begin = 0
    for end in range(1, len(order) + 1):
        # A block ends where the next place is only reached after all passes.
        if end < len(order) and order[end, 0] <= order[begin:end].max():
            continue
        block = order[begin:end]
        if (block[:, :-1].max(axis=0) >= block[:, 1:].min(axis=0)).any():
            return False
        begin = end
    return True


def _by_rounds(images: Images, values: Values) -> list[Images] | None:
    """Images in the order of a value, cut whenever all places have been taken.

    The last round may be cut short; then it takes the places at one end.
    """
    places = places_of(images)
    place_of = {frame_of(image): k for k, each in enumerate(places) for image in each}
    order = sorted(images, key=lambda i: values[frame_of(i)])
    rounds = [order[k : k + len(places)] for k in range(0, len(order), len(places))]
    for before, after in pairwise(rounds):
        if values[frame_of(before[-1])] == values[frame_of(after[0])]:
            return None
    taken = [sorted(place_of[frame_of(image)] for image in each) for each in rounds]
    full = list(range(len(places)))
    last = taken[-1]
    if len(places) < 2 or any(each != full for each in taken[:-1]):
        return None
    return rounds if last in (full[: len(last)], full[-len(last) :]) else None


def _is_in_order(images: Images, values: Values) -> bool:
    """Whether a value rises from place to place, or falls."""
    steps = np.diff([values[frame_of(place[0])] for place in places_of(images)])
    return bool((steps >= 0).all() or (steps <= 0).all())


def _times(images: Images, name: str) -> Values:
    """Times as numbers that rise with them; nothing if an image lacks one."""
    found: Values = {}
    for image in images:
        try:
            found[frame_of(image)] = float(mark_of(image, name))
        except ValueError:
            return {}
    if name == "trigger_time" or max(found.values()) - min(found.values()) < _HALF_A_DAY:
        return found
    # A scan that goes on after midnight.
    return {k: v + 2 * _HALF_A_DAY if v < _HALF_A_DAY else v for k, v in found.items()}
