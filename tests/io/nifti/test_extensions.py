import warnings

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io import read_volume
from ct_vae.volume import DECODING
from tests.io._samples import AFFINE, ct_voxels


@pytest.mark.parametrize(
    "text", ["{", "3", "[]", '{"format": "other"}', '{"format": 3}', "[" * 50_000]
)
def test_other_comments_are_no_record_of_decoding(tmp_path, text):
    image = nib.Nifti1Image(ct_voxels(), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, text.encode()))
    nib.save(image, tmp_path / "a.nii")
    assert DECODING not in read_volume(tmp_path / "a.nii").source


@given(st.binary(min_size=16, max_size=200))
def test_header_extensions_are_passed_over(tmp_path_factory, text):
    image = nib.Nifti1Image(ct_voxels(), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, text))
    path = tmp_path_factory.getbasetemp() / "extended.nii.gz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nib.save(image, path)
    np.testing.assert_array_equal(read_volume(path).voxels, ct_voxels())
