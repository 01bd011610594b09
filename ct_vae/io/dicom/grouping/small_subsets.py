"""Decisions about small subsets of a series: scout views, repeated slices, and lost slices.

A subset of a few slices is a scout view if it crosses the slices of a complete volume, or differs
from them in its matrix and does not continue them. It is refused alone if a larger subset covers
its positions. In all other cases it may be missing from a larger subset, and both are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ct_vae.errors import InputError
from ct_vae.io.dicom.geometry import position_tolerance_mm
from ct_vae.io.dicom.grouping.attribute_values import ATTRIBUTE_NAMES, attribute_of
from ct_vae.io.dicom.grouping.identity import Subset
from ct_vae.io.dicom.grouping.image_group import MIN_SLICES, ImageGroup
from ct_vae.io.dicom.grouping.interleaving import parallel
from ct_vae.io.dicom.grouping.planes import (
    common_normal,
    differences,
    distances_of,
    group_by_position,
    is_regular,
)
from ct_vae.io.dicom.image_header import ImageHeader

_SHOWN = 8
_SCOUT = "a scout view or a single image that is not part of the slices of its series"
_ATTRIBUTES = ("patient", "name", "study", "frame_of_reference", "kernel", "stack")
# A slice within this multiple of the spacing from the end of a volume may be its next slice.
_NEXT = 1.5


def separate_small_subsets(subsets: Sequence[Subset]) -> tuple[list[ImageGroup], list[Subset]]:
    """Decide about subsets with fewer than `MIN_SLICES` images.

    Args:
        subsets: Images of one patient and series, those of each subset in one plane.

    Returns:
        Groups that are refused or skipped, and the subsets that remain to be read.
    """
    if len(subsets) == 1:
        return [], list(subsets)
    ordered = sorted(subsets, key=lambda each: -len(each.images))
    named = [_with_plane_names(each, ordered) for each in ordered]
    large = [each for each in named if len(each.images) >= MIN_SLICES]
    small = [each for each in named if len(each.images) < MIN_SLICES]
    groups: list[ImageGroup] = []
    strays: list[Subset] = []
    alone: list[Subset] = []
    for subset in small:
        aligned = [each for each in large if parallel(subset.images, each.images)]
        host = next((each for each in aligned if _is_covered_by(subset, each)), None)
        if host:
            error = _covered_error(subset, host)
            groups.append(
                ImageGroup(subset.images, problem=error, notes=subset.notes, redundant=True)
            )
        elif large and _is_scout(subset, aligned or large, crossing=not aligned):
            groups.append(ImageGroup(subset.images, skip=_SCOUT, notes=subset.notes))
        elif large or _has_parallel_subset(subset, small):
            strays.append(subset)
        else:
            alone.append(subset)
    if not strays:
        return groups, [*large, *alone]
    incomplete = [each for each in large if any(_may_lack(each, s, large) for s in strays)]
    rest = [each for each in large if not any(each is other for other in incomplete)]
    return [*groups, _mixed_group([*incomplete, *strays])], [*rest, *alone]


def _with_plane_names(subset: Subset, others: Sequence[Subset]) -> Subset:
    """Add the names of all properties in which the plane differs from those of others."""
    first = subset.images[0]
    found = [name for other in others for name in differences(first, other.images[0])]
    return Subset(subset.images, subset.notes, (*subset.separated_by, *dict.fromkeys(found)))


def _has_parallel_subset(subset: Subset, small: Sequence[Subset]) -> bool:
    """Return whether several parallel small subsets together have enough slices for a volume."""
    along = [each for each in small if parallel(subset.images, each.images)]
    return len(along) > 1 and sum(len(each.images) for each in along) >= MIN_SLICES


def _may_lack(subset: Subset, stray: Subset, large: Sequence[Subset]) -> bool:
    """Return whether stray slices may be missing from a large subset."""
    crossing = not any(parallel(stray.images, each.images) for each in large)
    return crossing or parallel(stray.images, subset.images)


def _is_covered_by(subset: Subset, other: Subset) -> bool:
    """Return True if all images are at positions of the other subset."""
    normal = common_normal(other.images)
    positions, own = distances_of(other.images, normal), distances_of(subset.images, normal)
    near = position_tolerance_mm(positions.tolist())
    return bool((np.abs(own[:, None] - positions).min(axis=1) <= near).all())


def _is_scout(subset: Subset, large: Sequence[Subset], *, crossing: bool) -> bool:
    """Return whether a small subset cannot be missing from complete large subsets."""
    if not all(_is_complete(each) for each in large):
        return False
    if crossing:
        # A slice with damaged directions still begins where the next slice would.
        return not any(_continues(subset, each) for each in large)
    first = subset.images[0].pixels
    assert first
    shapes = {(i.pixels.rows, i.pixels.columns) for each in large for i in each.images if i.pixels}
    return (first.rows, first.columns) not in shapes and not any(
        _is_next_to(subset, each) for each in large
    )


def _is_complete(subset: Subset) -> bool:
    overlapping = len(group_by_position(subset.images)) < len(subset.images)
    return overlapping or is_regular(subset.images)


def _is_next_to(subset: Subset, other: Subset) -> bool:
    """Return True if an image may be the next slice at an end of the other subset."""
    normal = common_normal(other.images)
    positions = np.sort(distances_of(other.images, normal))
    own = distances_of(subset.images, normal)
    step = np.ptp(positions) / max(1, len(group_by_position(other.images)) - 1)
    beyond = np.maximum(positions[0] - own, own - positions[-1])
    return bool(((beyond > 0) & (beyond <= _NEXT * step)).any())


def _continues(subset: Subset, other: Subset) -> bool:
    """Return True if the first pixel of an image is where that of the next slice would be."""
    positions = group_by_position(other.images)
    if len(positions) < 2:
        return False
    first, last = (np.asarray(positions[k][0].position) for k in (0, -1))
    step = (last - first) / (len(positions) - 1)
    points = np.asarray([image.position for image in subset.images])
    off = np.stack([points - (first - step), points - (last + step)])
    return bool((np.linalg.norm(off, axis=2) <= np.linalg.norm(step) / 2).any())


def _covered_error(subset: Subset, host: Subset) -> InputError:
    count = len(subset.images)
    differ = " and ".join(dict.fromkeys(_differences(subset.images[0], host.images[0])))
    return InputError(
        f"only {count} slice{'s' if count > 1 else ''} at positions of other slices of the series, "
        f"from which {'they differ' if count > 1 else 'it differs'} in {differ}"
    )


def _mixed_group(subsets: Sequence[Subset]) -> ImageGroup:
    firsts = [subset.images[0] for subset in subsets]
    names = sorted({name for first in firsts[1:] for name in _differences(firsts[0], first)})
    counts = ", ".join(str(len(subset.images)) for subset in subsets[:_SHOWN])
    error = InputError(
        f"its slices do not belong together: groups of {counts} differ in {', '.join(names)}",
        "move the unwanted ones to another folder",
    )
    return ImageGroup([image for subset in subsets for image in subset.images], problem=error)


def _differences(a: ImageHeader, b: ImageHeader) -> list[str]:
    differing = [n for n in _ATTRIBUTES if attribute_of(a, n) != attribute_of(b, n)]
    return [ATTRIBUTE_NAMES[name] for name in differing] + differences(a, b)
