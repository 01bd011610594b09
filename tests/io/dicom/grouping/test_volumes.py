from unittest.mock import patch

import pytest

from ct_vae.io.dicom.grouping import duplicates
from ct_vae.io.dicom.grouping.group_series import group_images
from tests.io.dicom.grouping._images import header, outcomes, stack
from tests.io.dicom.grouping._phases import clock, phases


@pytest.fixture(autouse=True)
def contents():
    with patch.object(duplicates, "content_of", lambda image: image.uid):
        yield


@pytest.mark.parametrize("cut", [1, 3, 11])
@pytest.mark.parametrize(
    ("attributes", "instance"),
    [
        ({"acquisition": lambda p, k: str(p)}, None),
        ({"acquisition_time": lambda p, k: clock(36000 + 30 * p + k)}, None),
        ({"trigger_time": lambda p, k: str(30 * p + k)}, None),
        ({"temporal": lambda p, k: str(p)}, None),
        ({}, lambda p, k: 1 + 12 * p + k),
    ],
)
def test_a_last_phase_that_is_cut_short_is_refused_and_the_others_are_read(
    attributes, instance, cut
):
    groups = group_images(phases(attributes, instance=instance, cut=cut))
    assert outcomes(groups) == [("ok", 12), ("ok", 12), ("refused", 12 - cut)]
    (bad,) = [group for group in groups if group.problem]
    assert f"it has {12 - cut} of the 12 positions of the others" in str(bad.problem)
    assert bad.redundant


def test_acquisitions_that_overlap_at_the_same_places_are_two_volumes():
    images = stack(attributes={"acquisition": "1"}, prefix="a")
    images += stack(start=16.0, attributes={"acquisition": "2"}, prefix="b")
    assert outcomes(group_images(images)) == [("ok", 12), ("ok", 12)]


def test_a_smaller_acquisition_within_a_larger_is_a_volume():
    images = stack(attributes={"acquisition": "1"}, prefix="a")
    images += stack(5, start=6.0, attributes={"acquisition": "2"}, prefix="b")
    assert outcomes(group_images(images)) == [("ok", 5), ("ok", 12)]


def test_folders_tell_apart_what_nothing_else_does():
    images = stack(folder="A", prefix="a") + stack(folder="B", prefix="b")
    assert outcomes(group_images(images)) == [("ok", 12), ("ok", 12)]


def test_copies_in_another_folder_are_left_out():
    images = stack(folder="A") + stack(folder="B")
    (group,) = group_images(images)
    assert outcomes([group]) == [("ok", 12)]
    assert len(group.duplicates) == 12
    assert "12 exact duplicates of slices were ignored" in group.remarks


def test_all_images_at_one_place_are_no_volume():
    (group,) = group_images([header(k, 5.0, name=f"{k}") for k in range(20)])
    assert "all of its 20 slices are at one position" in str(group.problem)
