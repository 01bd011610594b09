import os

import nibabel as nib
import numpy as np
import pytest

from ct_vae.errors import ConfigError, InputError, NoInputError
from ct_vae.io import ReadOptions, read_volume
from tests.io._samples import AFFINE, ct_voxels, gz, nifti_bytes

VOXELS = ct_voxels()


def refusal(folder, content, options=None, name="scan.nii.gz"):
    path = folder / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_volume(path, options)
    assert str(path) in caught.value.cause
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (bytes(1000), "only zeros"),
        (bytes(3), "only zeros"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "run git lfs pull"),
        (b"PK\x03\x04" + bytes(50), "zip archive"),
        (bytes(128) + b"DICM" + bytes(500), "DICOM"),
        (b'{"a": 1}', "JSON"),
        (b"hello world" * 100, "is not a NIfTI file"),
        (b"\x5c\x01\x00\x00" + bytes(100), "truncated: its header has 104 of 348"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    assert message in refusal(tmp_path, content)
    assert message in refusal(tmp_path, gz(content))


def test_folders_pipes_and_missing_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        read_volume(tmp_path)
    os.mkfifo(tmp_path / "pipe.nii")
    with pytest.raises(InputError, match="is a device or a pipe"):
        read_volume(tmp_path / "pipe.nii")
    with pytest.raises(NoInputError, match="no such file"):
        read_volume(tmp_path / "missing.nii.gz")
    with pytest.raises(InputError, match="cannot be read"):
        read_volume(tmp_path / "null\0byte.nii")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": [3, 0, 7, 8, 1, 1, 1, 1]}, "all sizes must be positive"),
        ({"dim": [3, -6, 7, 8, 1, 1, 1, 1]}, "(-6, 7, 8)"),
        ({"dim": [0, 6, 7, 8, 1, 1, 1, 1]}, "0 dimensions"),
        ({"dim": [8, 6, 7, 8, 1, 1, 1, 1]}, "8 dimensions"),
        ({"dim": [2, 6, 56, 1, 1, 1, 1, 1]}, "is not a volume: its shape (6, 56)"),
        ({"dim": [3, 2048, 2048, 513, 1, 1, 1, 1]}, "the limit is 2147483648 (2^31)"),
        ({"dim": [5, 6, 7, 1, 1, 8, 1, 1]}, "three dimensions"),
        ({"dim": [3, 6, 7, 9, 1, 1, 1, 1]}, "declares 1108 bytes, but the file has 1024"),
        ({"dim": [3, 6, 7, 7, 1, 1, 1, 1]}, "more than the 940 bytes"),
        ({"datatype": 128, "bitpix": 24}, "RGB"),
        ({"datatype": 2304, "bitpix": 32}, "RGBA"),
        ({"datatype": 32, "bitpix": 64}, "complex"),
        ({"datatype": 1536, "bitpix": 128}, "128-bit floats"),
        ({"datatype": 1, "bitpix": 1}, "one bit per voxel"),
        ({"datatype": 5, "bitpix": 16}, "unknown datatype 5"),
        ({"bitpix": 8}, "8 bits per voxel, but int16"),
        ({"vox_offset": 0}, "declares the voxels at byte 0"),
        ({"vox_offset": 348}, "352 to"),
        ({"vox_offset": 352.5}, "byte 352.5"),
        ({"vox_offset": np.nan}, "byte nan"),
        ({"vox_offset": np.inf}, "byte inf"),
        ({"vox_offset": 1e9}, "byte 1e+09"),
        ({"scl_slope": np.inf}, "slope inf"),
        ({"scl_slope": 1, "scl_inter": np.nan}, "intercept nan"),
        ({"xyzt_units": 1}, "in meters"),
        ({"xyzt_units": 3}, "in micrometers"),
        ({"xyzt_units": 5}, "unknown unit"),
        ({"magic": b"ni1"}, "data file 'scan.img"),
        ({"magic": b""}, "ANALYZE"),
        ({"sform_code": 9}, "unknown sform code 9"),
        ({"qform_code": -1}, "unknown qform code -1"),
        ({"sform_code": 0, "qform_code": 0}, "--assume-ras"),
        ({"srow_x": [0, 0, 0, 0]}, "singular"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "not finite"),
        ({"srow_x": [-0.75, 0.75, 0, 0], "srow_y": [-0.75, 0.75, 0, 0]}, "singular"),
        ({"sform_code": 0, "quatern_b": 2}, "qform is invalid"),
        ({"sform_code": 0, "quatern_b": np.nan}, "not finite"),
        ({"sform_code": 0, "pixdim": [1, 0, 1, 1, 0, 0, 0, 0]}, "voxel sizes of [0.0, 1.0, 1.0]"),
        ({"sform_code": 0, "pixdim": [3, 1, 1, 1, 0, 0, 0, 0]}, "qfac"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_cannot_be_right_is_refused_with_its_numbers(
    tmp_path, fields, message, packed
):
    content = nifti_bytes(VOXELS, **fields)
    if packed and "but the file has" in message:
        message = "expected 1108 bytes, got 1024"
    assert message in refusal(tmp_path, gz(content) if packed else content)


def test_real_files_that_must_be_refused_are(real_data):
    folder = real_data / "nifti"
    for name, message in [
        ("head_phantom_sheared.nii.gz", "cosine of 0.3"),
        ("head_phantom_oblique_not_hu.nii.gz", "no value is negative"),
        ("refuse_rgb_map.nii.gz", "RGB"),
        ("refuse_no_orientation_bigendian.nii.gz", "--assume-ras"),
        ("six_orientations/LPS.nii.gz", "--force"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            read_volume(folder / name)
        assert name in caught.value.cause


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


def test_options_out_of_range_are_refused():
    for wrong in ({"frame": -1}, {"nan": "zero"}, {"hu_offset": float("nan")}):
        with pytest.raises(ConfigError):
            ReadOptions(**wrong)
