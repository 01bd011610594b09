import shutil
from collections import defaultdict

import numpy as np
import pydicom
import pytest
from pydicom.pixels.decoders.base import get_decoder

from ct_vae.io import ReadOptions, read_volume, scan_series
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


def test_three_real_slices_are_read_when_they_are_named(real_data):
    volume = read_volume(real_data / "dicom" / "liver_3_slices")
    voxels, grid = read_by_itk(real_data / "dicom" / "liver_3_slices")
    np.testing.assert_array_equal(volume.voxels, np.maximum(voxels, AIR_HU))
    assert volume.grid.distance_mm(grid) < 1e-3
    assert "has only 3 slices" in volume.warnings


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


TREE = {
    "abdomen_512": [("CT", 41, "ok", "")],
    "ct_pet_mr_one_study/CT/image": [("CT", 51, "ok", "")],
    "ct_pet_mr_one_study/MR_T1/image": [("MR", 47, "skipped", "modality MR: not CT")],
    "ct_pet_mr_one_study/PET/image": [("PT", 51, "skipped", "modality PT: not CT")],
    "head_phantom_mixed_series/S1000": [("CT", 1, "skipped", "a localizer (scout view)")],
    "head_phantom_mixed_series/S2010": [("CT", 28, "ok", "")],
    "head_phantom_mixed_series/S4010": [
        ("CT", 2, "skipped", "a secondary capture, not a CT image")
    ],
    "liver_3_slices": [("CT", 3, "skipped", "only 3 slices, a volume has at least 4; it is read")],
    "missing_slice": [("CT", 4, "refused", "a slice is missing")],
    "tilt_4_slices": [("CT", 4, "refused", "its slices are tilted by 14.00 degrees")],
}


def test_a_tree_of_everything_is_judged_series_by_series(real_data):
    place = real_data / "dicom"
    # What is there twice, compressed the second time, is one series under its first folder.
    files = [path for path in place.rglob("*") if "mixed_compression" not in path.parts]
    found = scan_series([path for path in files if path.is_file()])
    told = defaultdict(list)
    for each in found:
        folder = each.folder.relative_to(place).as_posix()
        told[folder].append((each.modality, each.slices, each.verdict, each.reason))
    assert set(told) == set(TREE)
    for folder, expected in TREE.items():
        for have, want in zip(told[folder], expected, strict=True):
            assert have[:3] == want[:3]
            assert have[3].startswith(want[3])
            assert bool(have[3]) == bool(want[3])


def test_compressed_copies_of_slices_are_dropped_as_what_they_are(real_data, tmp_path):
    """The same slices twice, once compressed: one volume, and its voxels are those of before."""
    for name in ("abdomen_512", "mixed_compression"):
        shutil.copytree(real_data / "dicom" / name, tmp_path / name)
    both, alone = read_volume(tmp_path), read_volume(tmp_path / "abdomen_512")
    np.testing.assert_array_equal(both.voxels, alone.voxels)
    assert both.grid == alone.grid
    assert "9 exact duplicates of slices were ignored" in both.warnings
