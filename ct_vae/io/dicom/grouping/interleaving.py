"""Sets of slices of one series that lie between each other along their normal.

Each may look regular at twice the spacing of the whole, and the whole at half the spacing of each:
which of them is a volume cannot be told, so that neither is taken for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ct_vae.errors import InputError
from ct_vae.grid import FloatArray
from ct_vae.io.dicom.geometry import same_place_mm
from ct_vae.io.dicom.grouping.group import MIN_SLICES
from ct_vae.io.dicom.grouping.mark_values import NAMES, by_value, mark_of
from ct_vae.io.dicom.grouping.planes import Images, common_normal, distances_of
from ct_vae.io.dicom.image_header import ImageHeader

# Marks that sets of slices have in common; times change from slice to slice in most series.
_SET_MARKS = ("stack", "acquisition", "temporal", "dimensions", "cardiac")
_TIME_MARKS = ("trigger_time", "acquisition_time")
# Slices whose normals are nearer than this cosine are compared along one of them.
_PARALLEL = 0.7


def woven_by(images: Images) -> str:
    """The mark by which slices at different places belong to sets that interleave, or nothing."""
    order = np.argsort(distances_of(images), kind="stable")
    sorted_images = [images[i] for i in order]
    distances = distances_of(sorted_images)
    for name in (*_SET_MARKS, *_TIME_MARKS):
        least = MIN_SLICES if name in _TIME_MARKS else 2
        values = [mark_of(image, name) for image in sorted_images]
        indices = by_value(range(len(images)), values.__getitem__)
        indices.pop("", None)
        # What lies in one block has nothing of another set within it.
        scattered = [
            distances[each]
            for each in indices.values()
            if len(each) >= least and each[-1] - each[0] >= len(each)
        ]
        if any(interleave(a, b) for a, b in combinations(scattered, 2)):
            return NAMES[name]
    return NAMES["instance"] if _counted_twice(sorted_images) else ""


def interleave(a: FloatArray, b: FloatArray) -> bool:
    """Whether places of each of two sets lie strictly between places of the other."""
    return _between(a, b) and _between(b, a)


def parallel(a: Images, b: Images) -> bool:
    """Whether slices of two sets can be compared along one normal."""
    return abs(float(common_normal(a) @ common_normal(b))) >= _PARALLEL


def woven_sets(sets: Sequence[Images]) -> set[int]:
    """Indices of the sets that interleave with another one."""
    found: set[int] = set()
    compared: dict[tuple[bytes, bytes], bool] = {}
    for (i, a), (j, b) in combinations(enumerate(sets), 2):
        if not parallel(a, b):
            continue
        normal = common_normal(a)
        ends = np.sort(distances_of(a, normal)), np.sort(distances_of(b, normal))
        # Phases lie at the same places, many of them.
        key = np.round(ends[0], 3).tobytes(), np.round(ends[1], 3).tobytes()
        if key not in compared:
            compared[key] = interleave(*ends)
        if compared[key]:
            found |= {i, j}
    return found


def woven_problem(count: int, mark: str = "") -> InputError:
    """Why sets that interleave are refused.

    Args:
        count: Number of slices.
        mark: What tells them apart among themselves; by default they lie between others.
    """
    cause = (
        f"its slices belong to sets that differ in {mark} and interleave along their normal"
        if mark
        else f"its {count} slices interleave along their normal with others of their series"
    )
    return InputError(
        f"{cause}: whether they are one volume is not certain",
        "move those that belong together into a folder of their own",
    )


def _between(a: FloatArray, b: FloatArray) -> bool:
    """Whether a place of ``b`` lies between places of ``a`` and is none of them."""
    if len(a) < 2:
        return False
    near = min(same_place_mm(a.tolist()), same_place_mm(b.tolist()))
    after = np.searchsorted(a, b)
    inside = (after > 0) & (after < len(a))
    low, high = a[np.clip(after - 1, 0, None)], a[np.clip(after, None, len(a) - 1)]
    return bool((inside & (b - low > near) & (high - b > near)).any())


def _counted_twice(images: Sequence[ImageHeader]) -> bool:
    """Whether instance numbers are given several times, and not one block after another.

    Args:
        images: In the order of their places.
    """
    numbers = [image.instance for image in images if image.instance is not None]
    counts = Counter(numbers)
    if len(numbers) < len(images) or sum(n > 1 for n in counts.values()) < MIN_SLICES:
        return False
    blocks, seen = 1, set[int]()
    for number in numbers:
        if number in seen:
            blocks, seen = blocks + 1, set()
        seen.add(number)
    return blocks > max(counts.values())
