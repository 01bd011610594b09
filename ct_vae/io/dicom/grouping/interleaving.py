"""Detection of sets of slices that interleave along their normal.

Both the sets and their union may look like regular volumes: the sets at twice the spacing of the
union. Which of them is correct cannot be determined, so all are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ct_vae.errors import InputError
from ct_vae.grid import FloatArray
from ct_vae.io.dicom.geometry import position_tolerance_mm
from ct_vae.io.dicom.grouping.attribute_values import ATTRIBUTE_NAMES, attribute_of, by_value
from ct_vae.io.dicom.grouping.image_group import MIN_SLICES
from ct_vae.io.dicom.grouping.planes import Images, common_normal, distances_of
from ct_vae.io.dicom.image_header import ImageHeader

# Attributes that the slices of one acquisition share.
_SET_ATTRIBUTES = ("stack", "acquisition", "temporal", "dimensions", "cardiac")
# Times differ between slices in most series, so they count only for larger sets.
_TIME_ATTRIBUTES = ("trigger_time", "acquisition_time")
# Sets are compared along one normal if the cosine between their normals is at least this.
_PARALLEL = 0.7


def interleaved_attribute(images: Images) -> str:
    """Return the name of an attribute whose values interleave along the normal, or ``""``.

    Args:
        images: Slices at distinct positions.
    """
    order = np.argsort(distances_of(images), kind="stable")
    ordered = [images[i] for i in order]
    distances = distances_of(ordered)
    for name in (*_SET_ATTRIBUTES, *_TIME_ATTRIBUTES):
        least = MIN_SLICES if name in _TIME_ATTRIBUTES else 2
        values = [attribute_of(image, name) for image in ordered]
        indices = by_value(range(len(images)), values.__getitem__)
        indices.pop("", None)
        # A contiguous set contains no slice of another set and cannot interleave.
        scattered = [
            distances[each]
            for each in indices.values()
            if len(each) >= least and each[-1] - each[0] >= len(each)
        ]
        if any(interleave(a, b) for a, b in combinations(scattered, 2)):
            return ATTRIBUTE_NAMES[name]
    return ATTRIBUTE_NAMES["instance"] if _numbers_interleave(ordered) else ""


def interleave(a: FloatArray, b: FloatArray) -> bool:
    """Return whether each of two sets has positions strictly between positions of the other.

    Args:
        a: Sorted positions along the normal in mm.
        b: The same for the other set.
    """
    return _between(a, b) and _between(b, a)


def parallel(a: Images, b: Images) -> bool:
    """Return whether two sets of slices can be compared along one normal."""
    return abs(float(common_normal(a) @ common_normal(b))) >= _PARALLEL


def interleaved_sets(sets: Sequence[Images]) -> set[int]:
    """Return the indices of all sets that interleave with another set."""
    found: set[int] = set()
    compared: dict[tuple[bytes, bytes], bool] = {}
    for (i, a), (j, b) in combinations(enumerate(sets), 2):
        if not parallel(a, b):
            continue
        normal = common_normal(a)
        positions = np.sort(distances_of(a, normal)), np.sort(distances_of(b, normal))
        # The many phases of a dynamic series have the same positions.
        key = np.round(positions[0], 3).tobytes(), np.round(positions[1], 3).tobytes()
        if key not in compared:
            compared[key] = interleave(*positions)
        if compared[key]:
            found |= {i, j}
    return found


def interleaved_error(count: int, attribute: str = "") -> InputError:
    """Return the error for interleaving sets.

    Args:
        count: Number of slices.
        attribute: Name of the attribute in which slices within the set differ; empty if the set
            interleaves with another set.
    """
    cause = (
        f"its slices belong to sets that differ in {attribute} and interleave along their normal"
        if attribute
        else f"its {count} slices interleave along their normal with others of their series"
    )
    return InputError(
        f"{cause}: they may be one volume or several",
        "move the slices of each volume into a separate folder",
    )


def _between(a: FloatArray, b: FloatArray) -> bool:
    """Return True if a position of ``b`` is strictly between two positions of ``a``."""
    if len(a) < 2:
        return False
    near = min(position_tolerance_mm(a.tolist()), position_tolerance_mm(b.tolist()))
    after = np.searchsorted(a, b)
    inside = (after > 0) & (after < len(a))
    low, high = a[np.clip(after - 1, 0, None)], a[np.clip(after, None, len(a) - 1)]
    return bool((inside & (b - low > near) & (high - b > near)).any())


def _numbers_interleave(images: Sequence[ImageHeader]) -> bool:
    """Return whether instance numbers repeat without forming contiguous blocks.

    Args:
        images: Slices in the order of their positions.
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
