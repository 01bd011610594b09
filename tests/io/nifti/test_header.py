import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.io import read_volume
from tests.io._samples import ct_voxels, gz, nifti_bytes
from tests.io.nifti._refusal import refusal

VOXELS = ct_voxels()


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
