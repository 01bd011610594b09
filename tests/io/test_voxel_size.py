import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.io.voxel_size import check_voxel_size
from tests.io._itk_files import refusal, write_itk
from tests.io._samples import ct_voxels

VOXELS = ct_voxels()


def test_voxels_of_a_size_that_no_ct_has_are_refused(tmp_path):
    write_itk(tmp_path / "a.mhd")
    text = (tmp_path / "a.mhd").read_text()
    for spacing in ("0.0009 0.0008 0.0025", "1 1 50.1", "0.019 1 1"):
        (tmp_path / "a.mhd").write_text(text.replace("0.75 0.75 2.5", spacing))
        assert "a CT has 0.02 to 50 mm" in refusal(tmp_path / "a.mhd")


@pytest.mark.parametrize(
    ("spacing", "hint"),
    [
        ((0.0008, 0.0008, 0.002), "lengths are in meters, multiply its affine by 1000"),
        ((0.08, 0.08, 0.01), "lengths are in centimeters, multiply its affine by 10"),
        ((800.0, 800.0, 2000.0), "lengths are in micrometers, multiply its affine by 0.001"),
        ((0.0008, 1.0, 300.0), "correct the voxel sizes"),
    ],
)
def test_another_unit_is_suggested_if_it_fits(spacing, hint):
    with pytest.raises(InputError, match=r"a CT has 0\.02 to 50 mm") as error:
        check_voxel_size(Grid((2, 2, 2), np.diag([*spacing, 1.0])))
    assert hint in error.value.hint


@given(spacing=st.tuples(*[st.floats(0.021, 49.9)] * 3))
def test_sizes_of_ct_are_accepted(spacing):
    check_voxel_size(Grid((2, 2, 2), np.diag([*spacing, 1.0])))
