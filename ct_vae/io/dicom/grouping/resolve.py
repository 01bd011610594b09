"""From slices of one plane to volumes: each place taken once, in one block, or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ct_vae.errors import InputError
from ct_vae.io.dicom.dataset import AGAIN
from ct_vae.io.dicom.grouping.duplicates import repeat, without_doubles
from ct_vae.io.dicom.grouping.group import MIN_SLICES, Group
from ct_vae.io.dicom.grouping.identity import Part
from ct_vae.io.dicom.grouping.interleaving import woven_by, woven_problem
from ct_vae.io.dicom.grouping.mark_values import NAMES, by_mark
from ct_vae.io.dicom.grouping.phases import Sets, by_count, by_marks, by_time
from ct_vae.io.dicom.grouping.planes import (
    Images,
    distances_of,
    is_regular,
    places_of,
    plane_note,
    plane_problem,
)

_SHOWN = 8
# By these, slices of one plane are parted where all of them are on no regular grid.
_BLOCK_MARKS = ("stack", "acquisition")


def resolve(part: Part) -> list[Group]:
    """Volumes of slices of one plane, and what is refused of them.

    Every image is in exactly one group, as one of its images or of those that repeat them.
    """
    images = part.images
    if problem := plane_problem(images):
        return [_group(part, images, problem)]
    places = places_of(images)
    if len(places) == len(images):
        return _blocks(part)
    try:
        return _overlapping(part)
    except InputError as error:
        return [_group(part, images, error)]


def _group(part: Part, images: Images, problem: InputError | None = None) -> Group:
    note = "" if problem else plane_note(images)
    notes = (*part.notes, note) if note else part.notes
    return Group(images, problem=problem, notes=notes, apart=part.apart)


def _blocks(part: Part) -> list[Group]:
    """Slices at places of their own: one volume, or one for each block that a mark tells."""
    images = part.images
    mark = woven_by(images)
    if mark:
        return [_group(part, images, woven_problem(len(images), mark))]
    if len(images) < MIN_SLICES or is_regular(images):
        return [_group(part, images)]
    for name in _BLOCK_MARKS:
        sets = list(by_mark(images, name).values())
        if len(sets) > 1 and all(len(each) >= MIN_SLICES and is_regular(each) for each in sets):
            pieces = [Part(each, part.notes, (*part.apart, NAMES[name])) for each in sets]
            return [_group(piece, piece.images) for piece in pieces]
    return [_group(part, images)]


def _overlapping(part: Part) -> list[Group]:
    """Slices of which some lie at the same place.

    Raises:
        InputError: If they cannot be told apart.
    """
    kept, repeats = part.images, []
    found = _sets(kept, (by_marks, by_time))
    for same_marks in (True, False):
        if found:
            break
        kept, doubles = without_doubles(kept, same_marks=same_marks)
        repeats += doubles
        if len(places_of(kept)) == len(kept):
            found = [kept], ()
        else:
            found = _sets(kept, (by_marks, by_time))
    found = found or _sets(kept, (by_count, _by_origin))
    if not found:
        raise _conflict(kept)
    return _volumes(Part(kept, part.notes, part.apart), found, repeats)


def _sets(images: Images, ways: Sequence[Callable[[Images], Sets | None]]) -> Sets | None:
    return next(filter(None, (way(images) for way in ways)), None)


def _by_origin(images: Images) -> Sets | None:
    return by_marks(images, ("folder", "file"))


def _volumes(part: Part, found: Sets, repeats: Images) -> list[Group]:
    """Groups of sets of slices, without those that repeat a whole one."""
    sets, marks = found
    places = places_of(part.images)
    whole = [each for each in sets if len(each) == len(places)]
    partial = [each for each in sets if len(each) < len(places)]
    if whole:
        again = [repeat(each, whole) for each in partial]
        repeats = [
            *repeats,
            *(i for each, is_copy in zip(partial, again, strict=True) if is_copy for i in each),
        ]
        partial = [each for each, is_copy in zip(partial, again, strict=True) if not is_copy]
    sets = whole + partial
    apart = (*part.apart, *marks) if len(sets) > 1 else part.apart
    groups: list[Group] = []
    for k, each in enumerate(sets):
        piece = Part(each, part.notes, apart)
        cut = _cut_short(each, places) if whole and k >= len(whole) else None
        groups += [replace(_group(piece, each, cut), aside=True)] if cut else _blocks(piece)
    return _with_repeats(groups, repeats)


def _with_repeats(groups: list[Group], repeats: Images) -> list[Group]:
    """The same with images that repeat others, each beside the volume that it lies with."""
    if not repeats:
        return groups
    first, *others = groups
    note = f"{len(repeats)} slices that repeat others exactly were dropped"
    return [replace(first, notes=(*first.notes, note), repeats=repeats), *others]


def _cut_short(images: Images, places: Sequence[Images]) -> InputError | None:
    """Why a set is refused that lacks places at one end of the others, or between them."""
    own = {id(image) for image in images}
    taken = [k for k, place in enumerate(places) if any(id(image) in own for image in place)]
    inner = taken[0] > 0 and taken[-1] < len(places) - 1
    if inner and len(images) >= MIN_SLICES:
        return None
    return InputError(
        f"a set of slices that was cut short: it has {len(images)} of the {len(places)} places of "
        "the others"
    )


def _conflict(images: Images) -> InputError:
    places = places_of(images)
    if len(places) == 1:
        at = float(distances_of(images)[0])
        cause = f"all of its {len(images)} slices lie at one place, {at:.3f} mm along their normal"
        return InputError(cause, AGAIN)
    twice = [float(distances_of(place)[0]) for place in places if len(place) > 1]
    shown = ", ".join(f"{at:.3f}" for at in twice[:_SHOWN])
    more = f" and {len(twice) - _SHOWN} more places" if len(twice) > _SHOWN else ""
    return InputError(
        f"slices with different pixels lie at the same place: {shown} mm{more}",
        "move away those that are not meant",
    )
