import pytest
from pydicom.dataset import Dataset

from ct_vae.errors import InputError
from ct_vae.io.dicom.image_header import numbers, with_geometry
from tests.io._series import ORIGIN, SPACING, make_series
from tests.io.dicom.grouping._images import header


def test_geometry_and_rescale_come_from_the_elements():
    (dataset,) = make_series(1)
    dataset.SliceThickness, dataset.RescaleType = 2.5, " hu "
    found = with_geometry(header(position=None), dataset, dataset, dataset, frame=3)
    assert (found.position, found.spacing, found.frame) == (ORIGIN, SPACING, 3)
    assert (found.thickness, found.unit) == (2.5, "HU")
    assert (found.slope, found.inter) == (1.0, -1024.0)


@pytest.mark.parametrize("value", ["", "x", "-1", "0", "nan", "inf"])
def test_a_thickness_that_is_no_length_counts_as_absent(value):
    class Text(Dataset):
        def get(self, keyword, default=None):
            return value if keyword == "SliceThickness" else default

    assert with_geometry(header(), Text(), Text(), Text()).thickness is None


@pytest.mark.parametrize(
    ("value", "count", "expected"),
    [
        (None, 3, None),
        ("", 1, None),
        ([], 3, None),
        (2, 1, (2.0,)),
        ("2.5", 1, (2.5,)),
        (["1", 2, 3.5], 3, (1.0, 2.0, 3.5)),
    ],
)
def test_numbers_are_floats_or_absent(value, count, expected):
    assert numbers({"Key": value}, "Key", count) == expected


@pytest.mark.parametrize(("value", "count"), [([1, 2], 3), ([1, 2, 3], 2), (float("nan"), 1)])
def test_other_counts_and_values_are_refused(value, count):
    with pytest.raises(InputError, match=f"Key is not {count} finite numbers"):
        numbers({"Key": value}, "Key", count)
