import shutil

import numpy as np
import pydicom
import pytest
from pydicom.pixels.decoders.base import get_decoder

from ct_vae.errors import NoInputError
from ct_vae.io import ReadOptions, read_volume
from ct_vae.volume import AIR_HU
from tests.io._dicom_checks import read_by_itk, refusal, verdicts


def by_monai(folder):
    """Voxels and RAS affine as MONAI has them."""
    from monai.data import PydicomReader

    reader = PydicomReader(swap_ij=True, affine_lps_to_ras=True)
    return reader.get_data(reader.read(str(folder)))


REAL = [("abdomen_512", (512, 512, 41)), ("ct_pet_mr_one_study/CT/image", (154, 158, 51))]


@pytest.mark.parametrize(("name", "shape"), [*REAL, ("head_phantom_mixed_series/S2010", None)])
def test_real_series_are_read_as_itk_and_monai_read_them(real_data, tmp_path, name, shape):
    source = real_data / "dicom" / name
    volume = read_volume(source)
    assert shape is None or volume.grid.shape == shape
    voxels, grid = read_by_itk(source)
    seen = volume.outside_fov if volume.outside_fov is not None else np.zeros(voxels.shape, bool)
    np.testing.assert_array_equal(volume.voxels[~seen], voxels[~seen])
    np.testing.assert_array_equal(seen, voxels <= -1400)
    assert volume.grid.distance_mm(grid) < 1e-3
    copy = tmp_path / "files"
    copy.mkdir()
    for path in source.iterdir():
        if path.name != "DIRFILE":
            shutil.copy(path, copy / f"{path.name.removesuffix('.dcm')}.dcm")
    oracle, meta = by_monai(copy)
    corners = np.stack([meta["affine"] @ [*i, 1] for i in ((0, 0, 0), np.array(oracle.shape) - 1)])
    ours = volume.grid.to_world([(0, 0, 0), np.array(volume.grid.shape) - 1])
    if np.abs(corners[0, :3] - ours[0]).max() > 1:
        oracle, corners = oracle[:, :, ::-1], corners[::-1]
    np.testing.assert_array_equal(volume.voxels[~seen], oracle[~seen])


def test_the_real_abdomen_has_air_where_padding_was(real_data):
    volume = read_volume(real_data / "dicom" / "abdomen_512")
    assert volume.grid.shape == (512, 512, 41)
    assert volume.grid.spacing_mm == pytest.approx((0.796875, 0.796875, 5.0))
    assert volume.outside_fov is not None
    assert (volume.voxels[volume.outside_fov] == AIR_HU).all()
    assert volume.outside_fov[0, 0].all()
    assert 0.2 < volume.outside_fov.mean() < 0.22
    assert volume.voxels.min() >= AIR_HU


def test_the_real_mixed_study_gives_its_axial_series(real_data):
    place = real_data / "dicom" / "head_phantom_mixed_series"
    volume = read_volume(place)
    assert volume.grid.shape == (512, 512, 28)
    told = " | ".join(volume.warnings)
    assert "series 100" in told
    assert "a localizer (scout view)" in told
    assert "2 images) was skipped: a secondary capture" in told
    assert verdicts(place) == [(100, 1, "skipped"), (201, 28, "ok"), (401, 2, "skipped")]


def test_the_real_study_of_three_modalities_gives_its_ct(real_data):
    place = real_data / "dicom" / "ct_pet_mr_one_study"
    assert read_volume(place).grid.shape == (154, 158, 51)
    assert verdicts(place) == [(3, 51, "ok"), (5460021, 47, "skipped"), (4, 51, "skipped")]


def test_the_real_refusals_name_positions(real_data):
    text = refusal(real_data / "dicom" / "missing_slice")
    assert "a slice is missing" in text
    assert "28.107 to 38.107" in text
    assert "--resample-irregular" in text
    text = refusal(real_data / "dicom" / "tilt_4_slices")
    assert "tilted by 14.00 degrees" in text
    assert "-122.193" in text
    assert "-107.639" in text
    with pytest.raises(NoInputError, match="only 3 slices"):
        read_volume(real_data / "dicom" / "liver_3_slices")


def test_real_refusals_are_resampled_with_consent(real_data):
    consent = ReadOptions(resample_irregular=True, force=True)
    volume = read_volume(real_data / "dicom" / "missing_slice", consent)
    assert volume.grid.shape == (512, 512, 5)
    assert volume.grid.spacing_mm[2] == pytest.approx(5)
    assert "1 of 5 slices" in volume.warnings[-1]
    volume = read_volume(real_data / "dicom" / "tilt_4_slices", consent)
    assert volume.grid.shear < 1e-12
    assert "tilt of 14.00 degrees" in volume.warnings[-1]


def test_mixed_compression_gives_the_bits_of_the_uncompressed_slices(real_data):
    mixed = read_volume(real_data / "dicom" / "mixed_compression")
    whole = read_volume(real_data / "dicom" / "abdomen_512")
    first = round(float(whole.grid.to_index(mixed.grid.affine[:3, 3])[2]))
    part = slice(first, first + 9)
    np.testing.assert_array_equal(mixed.voxels, whole.voxels[:, :, part])
    np.testing.assert_array_equal(mixed.outside_fov, whole.outside_fov[:, :, part])
    assert mixed.grid.distance_mm(whole.grid.crop((0, 0, first), (512, 512, first + 9))) < 1e-9


def test_pydicom_decodes_the_same_where_it_can(real_data):
    place = real_data / "dicom" / "mixed_compression"
    mixed = read_volume(place)
    compared = 0
    for path in place.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        if not get_decoder(dataset.file_meta.TransferSyntaxUID).is_available:
            continue
        expected = np.maximum(dataset.pixel_array.T.astype(int) - 1024, AIR_HU)
        x, y, z = dataset.ImagePositionPatient
        k = round(float(mixed.grid.to_index([-x, -y, z])[2]))
        outside = dataset.pixel_array.T - 1024 <= -1400
        np.testing.assert_array_equal(mixed.voxels[:, :, k][~outside], expected[~outside])
        compared += 1
    assert compared >= 6
