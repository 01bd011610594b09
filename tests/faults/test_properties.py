"""What holds for any damage: the original, what a peer reads, or a refusal, and nothing else."""

import io

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions, read_volume
from ct_vae.volume import AIR_HU
from tests.io._samples import ct_volume, gz, nifti_bytes
from tests.io._series import make_series, write_series

WHOLE = gz(nifti_bytes(ct_volume().voxels))
FORCE = ReadOptions(force=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def damaged(data, content: bytes) -> bytes:
    """Bits flipped, bytes cut off, bytes of one place at another."""
    kind = data.draw(st.sampled_from(("flip", "cut", "splice")))
    at = data.draw(st.integers(0, len(content) - 1))
    if kind == "flip":
        return (
            content[:at]
            + bytes([content[at] ^ 1 << data.draw(st.integers(0, 7))])
            + content[at + 1 :]
        )
    if kind == "cut":
        return content[:at]
    start = data.draw(st.integers(0, len(content) - 1))
    size = data.draw(st.integers(1, 64))
    return content[:at] + content[start : start + size] + content[at + size :]


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_gz_gives_the_original_or_a_refusal(place, data):
    path = place / "a.nii.gz"
    path.write_bytes(damaged(data, WHOLE))
    try:
        volume = read_volume(path)
    except CtVaeError:
        return
    np.testing.assert_array_equal(volume.voxels, ct_volume().voxels)
    np.testing.assert_allclose(volume.grid.affine, ct_volume().grid.affine)


@settings(max_examples=300)
@given(at=st.integers(0, 351), byte=st.integers(0, 255))
def test_a_changed_header_gives_what_nibabel_reads_or_a_refusal(place, at, byte):
    raw = bytearray(nifti_bytes(ct_volume().voxels))
    raw[at] = byte
    path = place / "b.nii.gz"
    path.write_bytes(gz(bytes(raw)))
    try:
        volume = read_volume(path, FORCE)
    except CtVaeError:
        return
    peer = nib.Nifti1Image.from_stream(io.BytesIO(bytes(raw)))
    with np.errstate(all="ignore"):
        values = peer.get_fdata().reshape(volume.grid.shape)
    values[values <= -1400] = AIR_HU
    np.testing.assert_allclose(volume.voxels, values, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(volume.grid.affine, peer.affine, atol=1e-4)


@settings(max_examples=60)
@given(data=st.data())
def test_a_series_with_an_inner_fault_is_refused(tmp_path_factory, data):
    slices = make_series(7)
    k = data.draw(st.integers(1, 5))
    fault = data.draw(st.sampled_from(("dropped", "moved", "tagless", "cut")))
    if fault == "dropped":
        del slices[k]
    elif fault == "moved":
        shift = data.draw(st.sampled_from((0.9, -1.0, 1.2)))
        slices[k].ImagePositionPatient[2] = float(slices[k].ImagePositionPatient[2]) + shift
    elif fault == "tagless":
        tags = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows")
        delattr(slices[k], data.draw(st.sampled_from((*tags, "RescaleSlope", "BitsAllocated"))))
    else:
        slices[k].PixelData = slices[k].PixelData[:-2]
    folder = write_series(tmp_path_factory.mktemp("series"), slices)
    with pytest.raises(CtVaeError):
        read_volume(folder)


@pytest.mark.parametrize("end", [0, -1])
def test_a_series_without_an_end_slice_is_exactly_the_others(tmp_path, end):
    slices = make_series(7)
    whole = read_volume(write_series(tmp_path / "whole", slices)).voxels
    del slices[end]
    rest = read_volume(write_series(tmp_path / "rest", slices)).voxels
    np.testing.assert_array_equal(rest, whole[:, :, 1:] if end == 0 else whole[:, :, :-1])
