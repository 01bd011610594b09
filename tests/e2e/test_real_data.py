"""Real CT with its oddities, by the doors that users take."""

import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from ct_vae.io import ReadOptions, read_latent, read_volume
from tests._asserts import assert_same_anatomy, assert_same_place
from tests.cli._run import call
from tests.io._dicom_checks import read_by_itk

ORIENTATIONS = ("ASR", "IRA", "LPS", "PIL", "RAI", "SLP")
FORCE = ReadOptions(force=True)


@pytest.fixture(scope="module")
def heads(real_data, model_folder, tmp_path_factory):
    """One head in six orientations: the sources, and where latents and decoded files are."""
    sources = real_data / "nifti" / "six_orientations"
    out = tmp_path_factory.mktemp("heads")
    code, text = call("encode", model_folder, sources, "-o", out / "latents", "--force")
    assert code == 0, text
    code, text = call("decode", model_folder, out / "latents", "-o", out / "decoded")
    assert code == 0, text
    return sources, out / "latents", out / "decoded"


def upright(image):
    """Voxels with axes running to R, A and S, turned by another library than ours."""
    return np.asarray(nib.as_closest_canonical(image).dataobj)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_left_is_on_the_left_whatever_the_orientation(real_data, name):
    path = real_data / "nifti" / "six_orientations" / f"{name}.nii.gz"
    volume = read_volume(path, FORCE)
    assert volume.grid.axcodes == name
    oriented = volume.grid.reorient_array(volume.voxels, "RAS")
    # These are fractions, which nibabel rounds in another place.
    np.testing.assert_allclose(oriented, upright(nib.load(path)), rtol=1e-6)
    by_itk = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
    np.testing.assert_allclose(oriented, sitk.GetArrayFromImage(by_itk).transpose(), rtol=1e-6)
    # The head is not symmetric, so that the test above could fail.
    assert np.abs(oriented - oriented[::-1]).mean() > 1


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_latents_of_all_orientations_are_one_and_each_comes_back_as_it_was(heads, name):
    sources, latents, decoded = heads
    source = nib.load(sources / f"{name}.nii.gz")
    back = nib.load(decoded / f"{name}_decoded.nii.gz")
    assert "".join(nib.aff2axcodes(back.affine)) == name
    assert back.shape == source.shape
    np.testing.assert_allclose(back.affine, source.affine, atol=1e-5)
    first = nib.load(decoded / f"{ORIENTATIONS[0]}_decoded.nii.gz")
    np.testing.assert_array_equal(upright(back), upright(first))
    latent = read_latent(latents / f"{name}_latent.nii.gz")
    other = read_latent(latents / f"{ORIENTATIONS[0]}_latent.nii.gz")
    np.testing.assert_array_equal(latent.array, other.array)
    assert_same_place(latent.grid, other.grid, 1e-4)


def positions(folder):
    found = [pydicom.dcmread(p, stop_before_pixels=True) for p in folder.rglob("*") if p.is_file()]
    return sorted(tuple(map(float, each.ImagePositionPatient)) for each in found)


def test_the_ct_of_a_study_comes_back_as_a_series_of_its_own(real_data, model_folder, tmp_path):
    study = real_data / "dicom" / "ct_pet_mr_one_study"
    code, text = call("encode", model_folder, study, "-o", tmp_path / "latents")
    assert code == 0, text
    for modality in ("MR", "PT"):
        assert f"modality {modality}: not CT" in text
    decode = ("decode", model_folder, tmp_path / "latents", "-o")
    assert call(*decode, tmp_path / "nifti")[0] == 0
    code, text = call(*decode, tmp_path / "dicom", "--format", "dicom", "--like", study)
    assert code == 0, text
    (file,) = (tmp_path / "nifti").rglob("*.nii.gz")
    folder = next(path.parent for path in (tmp_path / "dicom").rglob("0001.dcm"))
    source = read_volume(study)
    again, nifti = read_volume(folder, FORCE), read_volume(file, FORCE)
    assert again.grid == source.grid
    assert_same_place(again.grid, nifti.grid, 1e-3)
    assert_same_anatomy(again, nifti)
    np.testing.assert_array_equal(np.asarray(nib.load(file).dataobj), by_pydicom(folder))
    np.testing.assert_allclose(positions(folder), positions(study / "CT"), atol=1e-6)
    voxels, grid = read_by_itk(folder)
    np.testing.assert_array_equal(voxels, by_pydicom(folder))
    assert grid.distance_mm(source.grid) < 1e-3


def by_pydicom(folder):
    """HU as pydicom has them, ``(columns, rows, slices)`` in the order of the files."""
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    return np.stack([s.pixel_array * s.RescaleSlope + s.RescaleIntercept for s in slices]).T


def test_refused_series_are_listed_with_their_positions(real_data, model_folder, tmp_path):
    names = ("missing_slice", "tilt_4_slices")
    sources = [real_data / "dicom" / name for name in names]
    code, _ = call("encode", model_folder, *sources, "-o", tmp_path)
    assert code == 8
    assert [path.name for path in tmp_path.iterdir()] == ["failures.jsonl"]
    lines = (tmp_path / "failures.jsonl").read_text().splitlines()
    failures = [json.loads(line) for line in lines]
    assert "28.107 to 38.107 mm" in failures[0]["cause"]
    assert "(-122.193, -117.342, -112.490, -107.639)" in failures[1]["cause"]
    assert all("--resample-irregular" in each["hint"] for each in failures)


def test_a_refused_series_alone_gives_its_exit_code(real_data, model_folder, tmp_path):
    source = real_data / "dicom" / "missing_slice"
    assert call("encode", model_folder, source, "-o", tmp_path)[0] == 4
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_three_slices_are_encoded_when_they_are_named(real_data, model_folder, tmp_path):
    source = real_data / "dicom" / "liver_3_slices"
    assert call("encode", model_folder, source, "-o", tmp_path)[0] == 0
    (path,) = tmp_path.rglob("*.nii.gz")
    assert "has only 3 slices" in read_latent(path).record.warnings


def test_with_consent_the_record_tells_what_was_done(real_data, model_folder, tmp_path):
    source = real_data / "dicom" / "tilt_4_slices"
    told = ("--force", "--resample-irregular")
    assert call("encode", model_folder, source, "-o", tmp_path, *told)[0] == 0
    (path,) = tmp_path.rglob("*.nii.gz")
    record = read_latent(path).record
    assert any("irregular slices were resampled: tilt of 14.00" in w for w in record.warnings)
