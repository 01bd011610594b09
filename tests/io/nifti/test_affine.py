import nibabel as nib
import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.io import ReadOptions, read_volume
from tests.io._samples import AFFINE, ct_voxels, nifti_bytes

VOXELS = ct_voxels()


def test_shear_is_accepted_up_to_a_hundredth(tmp_path):
    path = tmp_path / "a.nii"
    for cosine, good in [(0.0099, True), (0.0102, False)]:
        affine = AFFINE.copy()
        affine[1, 2] = cosine * 2.5
        path.write_bytes(nifti_bytes(VOXELS, affine, qform_code=0))
        if good:
            assert read_volume(path).grid.shear == pytest.approx(cosine, rel=1e-3)
        else:
            with pytest.raises(InputError, match=r"cosine of 0\.0102, the limit is 0\.01"):
                read_volume(path)


def test_the_sform_wins_and_a_disagreement_is_recorded(tmp_path):
    path = tmp_path / "a.nii"
    moved = AFFINE.astype(np.float32)
    moved[0, 3] += 12
    path.write_bytes(nifti_bytes(VOXELS, srow_x=moved[0]))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.grid.affine, moved)
    assert volume.source["qform_distance_mm"] == pytest.approx(12)
    assert any("12 mm" in warning for warning in volume.warnings)


def test_an_unusable_qform_next_to_a_good_sform_is_warned_about(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(VOXELS, quatern_b=5))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.grid.affine, AFFINE)
    assert any("qform is unusable" in warning for warning in volume.warnings)


def test_the_qform_is_used_where_there_is_no_sform(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(VOXELS, sform_code=0))
    volume = read_volume(path)
    assert volume.source["affine_from"] == "qform"
    np.testing.assert_array_equal(volume.grid.affine, nib.load(path).affine)


def test_a_qfac_of_zero_counts_as_one(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(VOXELS, sform_code=0, pixdim=[0, 1, 2, 3, 0, 0, 0, 0]))
    assert read_volume(path).grid.spacing_mm == (1, 2, 3)


def test_assumed_axes_use_the_voxel_sizes(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes(VOXELS, sform_code=0, qform_code=0))
    volume = read_volume(path, ReadOptions(assume_ras=True))
    np.testing.assert_array_equal(volume.grid.affine, np.diag([0.75, 0.75, 2.5, 1]))
    assert any("assumed" in warning for warning in volume.warnings)
