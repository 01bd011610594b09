from dataclasses import replace
from pathlib import Path

from ct_vae.io.dicom.grouping.group_series import group_images
from tests.io.dicom.grouping._images import header, stack


def ids(images):
    return sorted(group.id for group in group_images(images))


def test_an_id_follows_from_the_images_and_not_from_where_they_are():
    images = stack()
    moved = [replace(image, path=Path("other/deep") / image.path.name[::-1]) for image in images]
    assert ids(images) == ids(moved[::-1])
    assert ids(images)[0].startswith("s003_")
    # What else there is does not matter: a volume is found again where it lies alone.
    beside = stack(
        8, start=90.0, attributes={"kernel": "b"}, prefix="b", uid=lambda k: f"1.2.9.{k}"
    )
    images = [replace(image, attributes=image.attributes._replace(kernel="a")) for image in images]
    assert set(ids(images)) < set(ids(images + beside))


def test_volumes_of_other_images_have_other_ids():
    base = stack()
    others = [
        base[:-1],
        stack(uid=lambda k: f"1.2.5.{k}"),
        stack(start=1.0),
        stack(attributes={"kernel": "x"}),
        stack(series="1.2.4"),
    ]
    assert len({ids(images)[0] for images in (base, *others)}) == 6


def test_an_id_does_not_depend_on_which_of_two_copies_is_found_first():
    images = [*stack(), header(4, 8.0, name="copy", uid="1.2.4.0")]
    other = [*stack()[:4], header(4, 8.0, name="aaa", uid="1.2.4.0"), *stack()[4:]]
    assert [group.problem is not None for group in group_images(images)] == [True]
    assert ids(images) == ids(other)


def test_the_lowest_series_number_counts():
    images = stack(number=lambda k: [None, 7, 5][k % 3])
    assert ids(images)[0].startswith("s005_")
