"""Parts of one patient's series that differ in their planes or in what they show.

Large parts are volumes of their own. A small one is a scout view if it crosses the others or has
another matrix and no place among them. Any other small part may be a lost piece of a large one, so
that both are refused together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ct_vae.errors import InputError
from ct_vae.io.dicom.geometry import same_place_mm
from ct_vae.io.dicom.grouping.group import MIN_SLICES, Group
from ct_vae.io.dicom.grouping.identity import Part
from ct_vae.io.dicom.grouping.interleaving import parallel
from ct_vae.io.dicom.grouping.mark_values import NAMES, mark_of
from ct_vae.io.dicom.grouping.planes import (
    common_normal,
    differences,
    distances_of,
    is_regular,
    places_of,
)
from ct_vae.io.dicom.image_header import ImageHeader

_SHOWN = 8
_SCOUT = "a scout view or single image across or beside the slices of its series"
_MARKS = ("patient", "name", "study", "frame_of_reference", "kernel", "stack")
# Parts of a spacing within which a slice beside the ends of a volume may be its next one.
_NEXT = 1.5


def part_leaves(leaves: Sequence[Part]) -> tuple[list[Group], list[Part]]:
    """What is refused or set aside, and what is left to make volumes.

    Args:
        leaves: Images of one plane each, of one patient and series.
    """
    if len(leaves) == 1:
        return [], list(leaves)
    ordered = sorted(leaves, key=lambda leaf: -len(leaf.images))
    named = [_named(leaf, ordered) for leaf in ordered]
    large = [leaf for leaf in named if len(leaf.images) >= MIN_SLICES]
    small = [leaf for leaf in named if len(leaf.images) < MIN_SLICES]
    groups: list[Group] = []
    strays: list[Part] = []
    alone: list[Part] = []
    for leaf in small:
        beside = [each for each in large if parallel(leaf.images, each.images)]
        host = next((each for each in beside if _takes_places_of(leaf, each)), None)
        if host:
            problem = _taken(leaf, host)
            groups.append(Group(leaf.images, problem=problem, notes=leaf.notes, aside=True))
        elif large and _is_scout(leaf, beside or large, crossing=not beside):
            groups.append(Group(leaf.images, skip=_SCOUT, notes=leaf.notes))
        elif large or _has_sibling(leaf, small):
            strays.append(leaf)
        else:
            alone.append(leaf)
    if not strays:
        return groups, [*large, *alone]
    refused = [each for each in large if any(_related(stray, each, large) for stray in strays)]
    mixed = [*refused, *strays]
    images = [image for leaf in mixed for image in leaf.images]
    groups.append(Group(images, problem=_mixed(mixed)))
    rest = [each for each in large if not any(each is leaf for leaf in refused)]
    return groups, [*rest, *alone]


def _named(leaf: Part, others: Sequence[Part]) -> Part:
    """A part with the names of all in which its plane differs from others."""
    first = leaf.images[0]
    found = [name for other in others for name in differences(first, other.images[0])]
    return Part(leaf.images, leaf.notes, (*leaf.apart, *dict.fromkeys(found)))


def _has_sibling(leaf: Part, small: Sequence[Part]) -> bool:
    """Whether small parts of one direction together would make a volume."""
    along = [each for each in small if parallel(leaf.images, each.images)]
    return len(along) > 1 and sum(len(each.images) for each in along) >= MIN_SLICES


def _related(stray: Part, leaf: Part, large: Sequence[Part]) -> bool:
    """Whether a stray part may be a piece of a large one."""
    crossing = not any(parallel(stray.images, each.images) for each in large)
    return crossing or parallel(stray.images, leaf.images)


def _takes_places_of(leaf: Part, other: Part) -> bool:
    """Whether all images lie at places where the other part has slices."""
    normal = common_normal(other.images)
    places, own = distances_of(other.images, normal), distances_of(leaf.images, normal)
    near = same_place_mm(places.tolist())
    return bool((np.abs(own[:, None] - places).min(axis=1) <= near).all())


def _is_scout(leaf: Part, large: Sequence[Part], *, crossing: bool) -> bool:
    """Whether a small part is no piece of a large one, all of which are whole without it."""
    if not all(_is_whole(each) for each in large):
        return False
    if crossing:
        # A slice whose directions are damaged still lies where the next one would.
        return not any(_continues(leaf, each) for each in large)
    first = leaf.images[0].pixels
    assert first
    shapes = {(i.pixels.rows, i.pixels.columns) for each in large for i in each.images if i.pixels}
    return (first.rows, first.columns) not in shapes and not any(
        _is_next_to(leaf, each) for each in large
    )


def _is_whole(leaf: Part) -> bool:
    places = places_of(leaf.images)
    return len(places) < len(leaf.images) or is_regular(leaf.images)


def _is_next_to(leaf: Part, other: Part) -> bool:
    """Whether an image lies where the next slice of the other part would."""
    normal = common_normal(other.images)
    places, own = np.sort(distances_of(other.images, normal)), distances_of(leaf.images, normal)
    step = np.ptp(places) / max(1, len(places_of(other.images)) - 1)
    beyond = np.maximum(places[0] - own, own - places[-1])
    return bool(((beyond > 0) & (beyond <= _NEXT * step)).any())


def _continues(leaf: Part, other: Part) -> bool:
    """Whether an image begins where the next slice of the other part would, in all directions."""
    places = places_of(other.images)
    if len(places) < 2:
        return False
    first, last = (np.asarray(places[k][0].position) for k in (0, -1))
    step = (last - first) / (len(places) - 1)
    points = np.asarray([image.position for image in leaf.images])
    off = np.stack([points - (first - step), points - (last + step)])
    return bool((np.linalg.norm(off, axis=2) <= np.linalg.norm(step) / 2).any())


def _taken(leaf: Part, host: Part) -> InputError:
    count = len(leaf.images)
    differ = " and ".join(dict.fromkeys(_unlike(leaf.images[0], host.images[0])))
    return InputError(
        f"only {count} slice{'s' if count > 1 else ''} at places that others of the series take, "
        f"from which they differ in {differ}"
    )


def _mixed(leaves: Sequence[Part]) -> InputError:
    firsts = [leaf.images[0] for leaf in leaves]
    names = sorted({name for first in firsts[1:] for name in _unlike(firsts[0], first)})
    counts = ", ".join(str(len(leaf.images)) for leaf in leaves[:_SHOWN])
    return InputError(
        f"its slices do not belong together: groups of {counts} differ in {', '.join(names)}",
        "move away those that are not meant",
    )


def _unlike(a: ImageHeader, b: ImageHeader) -> list[str]:
    marks = [NAMES[name] for name in _MARKS if mark_of(a, name) != mark_of(b, name)]
    return marks + differences(a, b)
