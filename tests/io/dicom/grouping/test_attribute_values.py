import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io.dicom.grouping.attribute_values import (
    ATTRIBUTE_NAMES,
    PHASE_ATTRIBUTES,
    attribute_of,
    by_attribute,
    by_value,
)
from ct_vae.io.dicom.grouping_attributes import GroupingAttributes
from tests.io.dicom.grouping._images import header, stack


def test_every_attribute_has_a_name_and_a_value():
    fields = set(GroupingAttributes._fields)
    assert fields | {"instance", "folder", "file"} == set(ATTRIBUTE_NAMES)
    assert set(PHASE_ATTRIBUTES) <= fields
    for name in fields:
        assert attribute_of(header(attributes={name: "value"}), name) == "value"


def test_a_file_counts_only_if_it_has_several_frames():
    assert attribute_of(header(folder="a", name="b"), "folder") == "a"
    assert attribute_of(header(folder="a", name="b"), "file") == ""
    assert attribute_of(header(folder="a", name="b", frames=2), "file") == "a/b"


@given(values=st.lists(st.sampled_from("abc")))
def test_groups_keep_the_order_of_their_items(values):
    items = list(enumerate(values))
    groups = by_value(items, lambda item: item[1])
    assert list(groups) == list(dict.fromkeys(values))
    for value, group in groups.items():
        assert group == [item for item in items if item[1] == value]


@pytest.mark.parametrize("name", ["acquisition", "folder"])
def test_images_are_grouped_by_an_attribute(name):
    images = stack(3, attributes={"acquisition": "1"}, folder="1", prefix="a")
    images += stack(2, attributes={"acquisition": "2"}, folder="2", prefix="b")
    assert {k: len(v) for k, v in by_attribute(images, name).items()} == {"1": 3, "2": 2}
