import numpy as np
import pytest

from ct_vae.io.dicom.grouping.group_series import group_images
from tests.io.dicom.grouping._images import (
    AXIAL,
    SAGITTAL,
    header,
    outcomes,
    pixels,
    stack,
)


def scouts(count=2, *, z=0.0, **changes):
    facts = {"position": (-10.0, -20.0, z), "orientation": SAGITTAL} | changes
    return [header(k, name=f"scout{k}", **facts) for k in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_unmarked_scouts_across_the_slices_are_set_aside(count):
    groups = group_images(stack() + scouts(count))
    assert outcomes(groups) == [("ok", 12), ("skipped", count)]
    # One volume is left, from which nothing else had to be told apart.
    assert [group.remarks for group in groups if not group.skip] == [()]


@pytest.mark.parametrize("z", [-40.0, 7.0, 300.0])
def test_unmarked_scouts_of_another_matrix_are_set_aside(z):
    images = stack() + scouts(1, orientation=AXIAL, pixels=pixels(40, 30), z=z)
    assert outcomes(group_images(images)) == [("ok", 12), ("skipped", 1)]


@pytest.mark.parametrize("z", [-2.0, 24.0])
@pytest.mark.parametrize("change", [{"pixels": pixels(40, 30)}, {"spacing": (0.9, 0.5)}])
def test_what_may_be_an_end_slice_is_refused_with_the_others(z, change):
    (group,) = group_images(stack() + scouts(1, orientation=AXIAL, z=z, **change))
    assert outcomes([group]) == [("refused", 13)]
    assert "groups of 12, 1 differ in" in str(group.problem)


@pytest.mark.parametrize("k", [0, 5, 11])
@pytest.mark.parametrize("angle", [0.5, 10, 44, 46, 90])
def test_a_slice_with_damaged_directions_is_refused_with_the_others(k, angle):
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    images = stack()
    images[k] = header(k, 2.0 * k, orientation=(1, 0, 0, 0, c, s))
    (group,) = group_images(images)
    assert outcomes([group]) == [("refused", 12)]


def test_scouts_next_to_a_volume_with_a_gap_may_be_its_slices():
    images = stack()[:5] + stack()[6:] + scouts(1)
    (group,) = group_images(images)
    assert outcomes([group]) == [("refused", 12)]


@pytest.mark.parametrize(
    "change", [{"attributes": {"kernel": "sharp"}}, {"pixels": pixels(40, 30)}]
)
def test_a_few_slices_again_are_refused_alone(change):
    images = stack(attributes={"kernel": "soft"}) + [
        header(k, 2.0 * k, name=f"again{k}", **{"attributes": {"kernel": "soft"}} | change)
        for k in (3, 4)
    ]
    groups = group_images(images)
    assert outcomes(groups) == [("ok", 12), ("refused", 2)]
    (bad,) = [group for group in groups if group.problem]
    assert "only 2 slices at positions of other slices of the series" in str(bad.problem)
    assert bad.redundant


def test_two_fields_of_view_at_the_same_places_are_two_volumes():
    images = stack(prefix="a") + stack(prefix="b", spacing=(0.3, 0.2))
    groups = group_images(images)
    assert outcomes(groups) == [("ok", 12), ("ok", 12)]
    assert all("which differ in pixel spacing" in group.remarks[-1] for group in groups)


@pytest.mark.parametrize("count", [1, 3])
def test_scouts_alone_are_series_of_few_slices(count):
    images = [*scouts(count), header(9, name="front", orientation=(1, 0, 0, 0, 0, -1))]
    assert {kind for kind, _ in outcomes(group_images(images))} <= {"short", "refused"}
