from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io.dicom.grouping.group_series import group_images
from ct_vae.io.dicom.grouping.interleaving import interleave
from tests.io.dicom.grouping._images import header, outcomes, stack

ATTRIBUTES = ["stack", "acquisition", "temporal", "dimensions", "cardiac", "kernel", "study"]


def half_shifted(attributes, first=10, second=10, **changes):
    return stack(first, attributes=dict.fromkeys(attributes, "1"), prefix="a", **changes) + stack(
        second, start=1.0, attributes=dict.fromkeys(attributes, "2"), prefix="b", **changes
    )


@pytest.mark.parametrize("attribute", [*ATTRIBUTES, "acquisition_time", "trigger_time"])
def test_half_shifted_stacks_are_neither_one_volume_nor_two(attribute):
    found = group_images(half_shifted([attribute], instance=None))
    assert [kind for kind, _ in outcomes(found)] in (["refused"], ["refused", "refused"])
    assert sum(size for _, size in outcomes(found)) == 20
    for group in found:
        assert "interleave along their normal" in str(group.problem)


def test_half_shifted_stacks_that_only_count_anew_are_refused():
    """Nothing but the instance numbers tells that there are two."""
    (group,) = group_images(half_shifted([]))
    assert outcomes([group]) == [("refused", 20)]
    assert "instance number" in str(group.problem)


def test_numbers_that_go_on_or_are_all_the_same_tell_nothing():
    for number in (lambda k: k + 1, lambda k: 40 - k, lambda k: 1, lambda k: None):
        assert outcomes(group_images(stack(24, 1.0, instance=number))) == [("ok", 24)]
    blocks = stack(24, 1.0, instance=lambda k: k % 12 + 1)
    assert outcomes(group_images(blocks)) == [("ok", 24)]


@pytest.mark.parametrize(
    "attribute", ["acquisition", "temporal", "acquisition_time", "content_time"]
)
@pytest.mark.parametrize("block", [1, 2, 4])
def test_blocks_and_numbers_of_each_slice_divide_nothing(attribute, block):
    """Sequential scans number every turn of the gantry."""
    images = stack(24, attributes={attribute: lambda k: str(k // block)})
    assert outcomes(group_images(images)) == [("ok", 24)]


@pytest.mark.parametrize("attribute", ["acquisition", "stack", "kernel", "study"])
def test_acquisitions_that_overlap_with_an_offset_are_refused(attribute):
    images = half_shifted([attribute])[:10] + stack(
        10, start=15.0, attributes={attribute: "2"}, prefix="b"
    )
    assert {kind for kind, _ in outcomes(group_images(images))} == {"refused"}


def test_coarse_slices_at_places_of_fine_ones_are_two_volumes():
    images = stack(5, 4.0, prefix="a", spacing=(1.5, 1.0)) + stack(20, 1.0, prefix="b")
    assert outcomes(group_images(images)) == [("ok", 5), ("ok", 20)]
    images = stack(5, 4.0, 0.5, prefix="a", spacing=(1.5, 1.0)) + stack(20, 1.0, prefix="b")
    assert outcomes(group_images(images)) == [("refused", 5), ("refused", 20)]


def test_series_of_their_own_may_interleave():
    images = stack(8) + stack(8, start=1.0, series="1.2.4", prefix="b")
    assert outcomes(group_images(images)) == [("ok", 8), ("ok", 8)]


def test_stacks_across_each_other_may_take_any_places():
    coronal = [
        header(k, name=f"c{k}", position=(0, k * 2.0 + 1, 9), orientation=(1, 0, 0, 0, 0, -1))
        for k in range(8)
    ]
    assert outcomes(group_images(stack(8) + coronal)) == [("ok", 8), ("ok", 8)]


@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=12, unique=True),
    st.lists(st.integers(0, 40), min_size=2, max_size=12, unique=True),
)
def test_sets_interleave_as_counting_says(a, b):
    def inside(x, y):
        return any(any(p < at < q for p, q in pairwise(x)) for at in y)

    a, b = sorted(a), sorted(b)
    expected = inside(a, set(b) - set(a)) and inside(b, set(a) - set(b))
    # Tolerances of places are a part of the typical step, which is far below 1 here.
    assert interleave(np.array(a) * 10.0, np.array(b) * 10.0) in {expected, False}
    if expected and len(a) > 3 and np.ptp(np.diff(a)) == 0 and np.ptp(np.diff(b)) == 0:
        assert interleave(np.array(a) * 10.0, np.array(b) * 10.0)
