import pytest

from ct_vae.io.dicom.grouping.group_series import group_images
from tests.io.dicom.grouping._images import outcome, outcomes, stack

PER_FILE = ["study", "frame_of_reference", "patient", "name"]


@pytest.mark.parametrize("attribute", PER_FILE)
def test_an_identifier_of_every_image_its_own_is_one_volume_with_a_note(attribute):
    (group,) = group_images(stack(attributes={attribute: lambda k: f"1.2.{k}"}))
    assert outcome(group) == ("ok", 12)
    (note,) = group.remarks
    assert note.startswith("12 of its 12 images each have a different ")
    assert "1.2." not in note


@pytest.mark.parametrize("attribute", [*PER_FILE, "kernel", "stack", "acquisition"])
def test_what_is_absent_from_some_images_divides_nothing(attribute):
    (group,) = group_images(stack(attributes={attribute: lambda k: "" if k % 2 else "a"}))
    assert outcome(group) == ("ok", 12)
    assert group.remarks == ()


@pytest.mark.parametrize("attribute", ["study", "frame_of_reference", "kernel"])
def test_halves_one_above_the_other_are_two_volumes(attribute):
    groups = group_images(stack(attributes={attribute: lambda k: "ab"[k // 6]}))
    assert outcomes(groups) == [("ok", 6), ("ok", 6)]
    assert all("which differ in" in group.remarks[-1] for group in groups)


@pytest.mark.parametrize("attribute", ["study", "frame_of_reference", "kernel"])
@pytest.mark.parametrize("few", [[0], [3, 4], [10, 11]])
def test_a_few_images_of_another_kind_are_refused_with_the_others(attribute, few):
    (group,) = group_images(stack(attributes={attribute: lambda k: "b" if k in few else "a"}))
    assert outcome(group) == ("refused", 12)
    assert f"groups of {12 - len(few)}, {len(few)} differ in" in str(group.problem)


@pytest.mark.parametrize("start", [0.0, 1.0, 24.0, 100.0, 7.0])
@pytest.mark.parametrize("attribute", ["patient", "name"])
def test_patients_of_one_series_uid_are_never_one_body(attribute, start):
    images = stack(attributes={attribute: "A"}, folder="A", prefix="a")
    images += stack(start=start, attributes={attribute: "B"}, folder="B", prefix="b")
    groups = group_images(images)
    assert outcomes(groups) == [("ok", 12), ("ok", 12)]
    for group in groups:
        assert len({getattr(image.attributes, attribute) for image in group.images}) == 1
        assert "which differ in patient" in group.remarks[-1]


@pytest.mark.parametrize("start", [1.0, 24.0, 100.0, 7.0])
def test_folders_that_count_anew_hold_different_patients(start):
    """Anonymizers may give every patient one series UID and one PatientID."""
    images = stack(folder="A", prefix="a") + stack(start=start, folder="B", prefix="b")
    groups = group_images(images)
    assert outcomes(groups) == [("ok", 12), ("ok", 12)]
    assert {str(i.path.parent) for i in groups[0].images} in ({"A"}, {"B"})


@pytest.mark.parametrize("attribute", ["patient", "name"])
@pytest.mark.parametrize("few", [[0], [11], [4, 5]])
def test_a_few_slices_of_another_patient_in_one_folder_are_refused_with_the_others(attribute, few):
    """A damaged byte in one name must not cost an end slice."""
    (group,) = group_images(stack(attributes={attribute: lambda k: "B" if k in few else "A"}))
    assert outcome(group) == ("refused", 12)
    assert "differ in patient" in str(group.problem)


def test_a_few_slices_of_another_patient_in_a_folder_of_their_own_are_theirs():
    images = stack(attributes={"patient": "A"}, folder="A", prefix="a")
    images += stack(3, start=24.0, attributes={"patient": "B"}, folder="B", prefix="b")
    assert outcomes(group_images(images)) == [("ok", 12), ("short", 3)]


def test_a_series_spread_over_folders_is_one_volume():
    images = stack(folder="A")[:7] + stack(folder="B")[7:]
    (group,) = group_images(images)
    assert outcome(group) == ("ok", 12)
    # Also where files are dealt out in turn.
    images = [image for k, image in enumerate(stack(folder="A")) if k % 2]
    images += [image for k, image in enumerate(stack(folder="B")) if not k % 2]
    (group,) = group_images(images)
    assert outcome(group) == ("ok", 12)


def test_a_patient_with_a_fault_does_not_concern_the_others():
    images = stack(attributes={"patient": "A"}, prefix="a")
    images += stack(
        attributes={"patient": "B"}, prefix="b", spacing=lambda k: (0.75, 0.5) if k else None
    )
    assert outcomes(group_images(images)) == [("ok", 12), ("refused", 12)]
