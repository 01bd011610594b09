"""CT in, latent file out, and back to HU on the source grid, by the doors that users take."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.transforms import LoadImage

import ct_vae
from ct_vae.io import read_latent, read_volume, write_latent, write_volume
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import Volume
from tests._strategies import ALL_AXCODES
from tests.cli._run import call

REAL = [
    "abdomen_3mm.nii.gz",
    "pelvis_float32_qform.nii.gz",
    "lung_crop.mha",
    "spine_crop_pir.nii.gz",
]


def peer_affine(path):
    """Affine in RAS+ by another library than ours."""
    if path.suffix != ".mha":
        return nib.load(path).affine
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (3, 3))
    affine[:3, :3] = direction * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize("name", REAL)
def test_real_ct_comes_back_onto_its_own_grid(real_data, model_folder, tmp_path, name):
    source = real_data / "nifti" / name
    assert call("encode", model_folder, source, "-o", tmp_path)[0] == 0
    stem = name.split(".")[0]
    latent_file = tmp_path / f"{stem}_latent.nii.gz"
    assert call("decode", model_folder, latent_file, "-o", tmp_path)[0] == 0
    back = nib.load(tmp_path / f"{stem}_decoded.nii.gz")
    affine = peer_affine(source)
    shape = nib.load(source).shape if source.suffix == ".gz" else read_volume(source).grid.shape
    assert back.shape == shape
    assert back.get_data_dtype() == np.int16
    np.testing.assert_allclose(back.affine, affine, atol=2e-5)
    # The last corner voxel of the latent lies at the middle of its block of source voxels.
    latent = nib.load(latent_file)
    oriented = read_volume(source).grid.reorient("RAS")
    corner = np.array(latent.shape[:3]) - 1
    block = oriented.to_world(np.stack([4 * corner, 4 * corner + 3])).mean(axis=0)
    placed = latent.affine @ [*corner, 1]
    np.testing.assert_allclose(placed[:3], block, atol=1e-3)


@pytest.fixture(scope="module")
def unturned(model_folder):
    """A phantom of odd sides, and what comes back of it."""
    base = make_phantom("head", 5, (9.0, 10.0, 11.0), shape=(21, 23, 19))
    codec = ct_vae.load_codec(model_folder, "cpu")
    return base, codec.decode(codec.encode(base))


@pytest.mark.parametrize("axcodes", ALL_AXCODES)
def test_all_orientations_of_an_odd_phantom_come_back(model_folder, unturned, tmp_path, axcodes):
    base, expected = unturned
    turned = Volume(base.grid.reorient_array(base.voxels, axcodes), base.grid.reorient(axcodes))
    write_volume(turned, tmp_path / "ct.nii.gz")
    codec = ct_vae.load_codec(model_folder, "cpu")
    source = read_volume(tmp_path / "ct.nii.gz")
    write_latent(codec.encode(source), tmp_path / "ct_latent.nii.gz", "float32")
    decoded = codec.decode(read_latent(tmp_path / "ct_latent.nii.gz"))
    write_volume(decoded, tmp_path / "back.nii.gz")
    a, b = nib.load(tmp_path / "ct.nii.gz"), nib.load(tmp_path / "back.nii.gz")
    assert a.shape == b.shape
    np.testing.assert_array_equal(a.affine, b.affine)
    # The same anatomy whatever the orientation: the decode of the unturned phantom is the oracle.
    seen = decoded.grid.reorient_array(decoded.voxels, "RAS")
    np.testing.assert_allclose(seen, expected.voxels, atol=0.01)


# MONAI speaks of a GPU decoder for DICOM that is not installed; no DICOM is read here.
@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")
def test_every_reader_of_the_field_agrees_on_a_latent(model_folder, tmp_path):
    codec = ct_vae.load_codec(model_folder, "cpu")
    path = tmp_path / "x_latent.nii.gz"
    volume = make_phantom("abdomen", 2, 12.0)
    written = write_latent(codec.encode(volume), path)
    ours = read_latent(path)
    np.testing.assert_array_equal(ours.array, written.array)
    channel_last = np.moveaxis(ours.array, 0, -1)
    image = nib.load(path)
    np.testing.assert_allclose(image.get_fdata(), channel_last, atol=1e-6)
    np.testing.assert_allclose(image.affine, ours.grid.affine, atol=1e-4)
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_allclose(itk.T, channel_last, atol=1e-6)
    loaded = LoadImage(ensure_channel_first=True)(path)
    np.testing.assert_allclose(loaded.numpy(), ours.array, atol=1e-6)
    np.testing.assert_allclose(loaded.affine.numpy(), ours.grid.affine, atol=1e-4)


def test_int16_latents_decode_to_nearly_the_same_hu(model_folder, tmp_path):
    codec = ct_vae.load_codec(model_folder, "cpu")
    latent = codec.encode(make_phantom("thorax", 2, 12.0))
    stored = write_latent(latent, tmp_path / "x_latent.nii.gz")
    difference = codec.decode(stored).voxels - codec.decode(latent).voxels
    assert 0 < np.abs(difference).max() < 2


def test_decoding_needs_the_files_and_nothing_else(model_folder, tmp_path):
    """Neither the source nor the JSON: the header's copy leads back, and a warning says so."""
    codec = ct_vae.load_codec(model_folder, "cpu")
    volume = make_phantom("head", 1, 10.0)
    path = tmp_path / "x_latent.nii.gz"
    write_latent(codec.encode(volume), path)
    expected = codec.decode(read_latent(path))
    path.with_name("x_latent.json").unlink()
    latent = read_latent(path)
    assert latent.record.warnings
    decoded = codec.decode(latent)
    assert decoded.grid == volume.grid
    np.testing.assert_array_equal(decoded.voxels, expected.voxels)


@pytest.mark.slow
def test_the_quickstart_runs_from_any_folder(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sets = [
        "training.samples=8",
        "data.phantoms.train=1",
        "data.phantoms.spacing_mm=[8.0,8.0,8.0]",
        f"training.output_dir={tmp_path / 'run'}",
    ]
    args = [word for s in sets for word in ("--set", s)]
    code, text = call("train", repository / "configs" / "quickstart.json", *args)
    assert code == 0, text
    codec = ct_vae.load_codec(tmp_path / "run", "cpu")
    with torch.inference_mode():
        assert codec.encode(make_phantom("thorax", 9, 8.0)).record.model.name == "quickstart"
