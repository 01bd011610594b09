import pickle

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, ImageReader, MetaTensor, NibabelReader
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImage,
    LoadImaged,
    Orientationd,
    SaveImage,
    Spacingd,
)

from ct_vae.errors import ConfigError, CtVaeError, InputError, NoInputError
from ct_vae.grid import Grid
from ct_vae.io import read_volume, write_volume
from ct_vae.preprocess.reader import CTReader
from ct_vae.volume import Volume
from tests._asserts import assert_same_anatomy, assert_same_place
from tests._small import ct_volume
from tests._strategies import affines
from tests.io._series import make_series, write_series

# MONAI builds its own readers beside ours, and one of them misses a GPU library.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")
SUFFIXES = ("nii.gz", "nii", "mha", "nrrd")
STEPS = [EnsureChannelFirstd("image"), Orientationd("image", axcodes="RAS", labels=None)]


def load(path, **options):
    return LoadImage(reader=CTReader, **options)(path)


def grid_of(image: MetaTensor) -> Grid:
    shape = tuple(image.shape[-3:])
    return Grid(shape, np.asarray(image.affine, dtype=np.float64))


@given(affine=affines(shear=0.0), sides=st.tuples(*[st.integers(3, 8)] * 3))
@settings(max_examples=15)
def test_nifti_equals_what_nibabels_reader_gives(tmp_path_factory, affine, sides):
    path = tmp_path_factory.getbasetemp() / "reader.nii.gz"
    write_volume(Volume(ct_volume(sides).voxels, Grid(sides, affine)), path)
    ours, theirs = load(path), LoadImage(reader=NibabelReader)(path)
    assert torch.equal(ours, theirs.as_tensor())
    torch.testing.assert_close(ours.affine, theirs.affine, rtol=0, atol=0)
    for key in ("original_affine", "spatial_shape"):
        np.testing.assert_array_equal(ours.meta[key], theirs.meta[key])
    assert ours.meta["space"] == theirs.meta["space"] == "RAS"
    assert ours.meta["filename_or_obj"] == theirs.meta["filename_or_obj"] == str(path)
    assert np.isnan(ours.meta["original_channel_dim"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_image(tmp_path, suffix):
    write_volume(ct_volume(), tmp_path / f"a.{suffix}")
    image = load(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(image, ct_volume().voxels)
    assert_same_place(grid_of(image), ct_volume().grid, 1e-5)


def test_a_series_is_where_simpleitk_puts_it(tmp_path):
    folder = write_series(tmp_path / "series", make_series())
    image = load(folder)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    other = SimpleITK.ReadImage(names)
    theirs = Grid.from_lps(
        other.GetSize(), other.GetSpacing(), other.GetOrigin(), other.GetDirection()
    )
    values = SimpleITK.GetArrayFromImage(other).T.astype(np.int16)
    assert_same_anatomy(
        Volume(np.asarray(image, dtype=np.int16), grid_of(image)), Volume(values, theirs)
    )


def test_real_series_and_archives(real_data, tmp_path):
    import shutil

    folder = real_data / "dicom" / "ct_pet_mr_one_study"
    image = load(folder)
    expected = read_volume(folder)
    np.testing.assert_array_equal(image, expected.voxels)
    assert_same_place(grid_of(image), expected.grid)
    assert "PT" in image.meta["warnings"]
    shutil.make_archive(str(tmp_path / "x"), "zip", folder)
    assert torch.equal(load(tmp_path / "x.zip").as_tensor(), image.as_tensor())


def test_a_pipeline_keeps_anatomy_in_place(tmp_path):
    """Loaded, oriented, saved and read again: the same values at the same places."""
    path = tmp_path / "in" / "a.nii.gz"
    affine = np.array([[0, -1.5, 0, 20], [0, 0, 2.5, -7], [2.0, 0, 0, 3], [0, 0, 0, 1]])
    source = Volume(ct_volume((9, 10, 11)).voxels, Grid((9, 10, 11), affine))
    write_volume(source, path)
    out = Compose([LoadImaged("image", reader="ct_vae.preprocess.reader.CTReader"), *STEPS])(
        {"image": path}
    )["image"]
    assert grid_of(out).axcodes == "RAS"
    SaveImage(tmp_path / "out", output_dtype=np.int16, separate_folder=False, print_log=False)(out)
    assert_same_anatomy(read_volume(tmp_path / "out" / "a_trans.nii.gz"), source)
    apart = Compose([LoadImaged("image", reader=CTReader), *STEPS, Spacingd("image", (1, 1, 1))])(
        {"image": path}
    )["image"]
    np.testing.assert_allclose(grid_of(apart).spacing_mm, 1)
    np.testing.assert_allclose(
        grid_of(apart).corners_mm().mean(0), source.grid.corners_mm().mean(0), atol=1
    )


def test_several_paths_become_channels(tmp_path):
    paths = [tmp_path / f"{k}.nii.gz" for k in range(2)]
    for k, path in enumerate(paths):
        write_volume(ct_volume(seed=k), path)
    image = load(paths)
    for k in range(2):
        np.testing.assert_array_equal(image[k], ct_volume(seed=k).voxels)
    assert image.meta["original_channel_dim"] == 0
    assert LoadImage(reader=CTReader, ensure_channel_first=True)(paths).shape == (2, 13, 10, 11)
    assert LoadImage(reader=CTReader, ensure_channel_first=True)(paths[0]).shape[0] == 1
    moved = np.diag([1.5, 2.0, 2.5, 1.0])
    moved[0, 3] = 1
    write_volume(ct_volume(affine=moved, seed=1), paths[1])
    with pytest.raises(InputError, match="its grid is not that of"):
        load(paths)


def gap(folder):
    slices = make_series()
    return write_series(folder, slices[:3] + slices[4:])


def cut(folder):
    folder.mkdir()
    write_volume(ct_volume(), folder / "a.nii.gz")
    data = (folder / "a.nii.gz").read_bytes()
    (folder / "a.nii.gz").write_bytes(data[: len(data) // 2])
    return folder / "a.nii.gz"


def not_hu(folder):
    folder.mkdir()
    image = nib.Nifti1Image(np.random.default_rng(0).random((9, 9, 9), np.float32), np.eye(4))
    nib.save(image, folder / "a.nii.gz")
    return folder / "a.nii.gz"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (gap, InputError),
        (cut, InputError),
        (not_hu, InputError),
    ],
)
def test_what_is_refused_is_refused_in_a_pipeline_and_left_to_no_other_reader(
    tmp_path, make, error
):
    path = make(tmp_path / "x")
    with pytest.raises(error) as plain:
        read_volume(path)
    for loader in (LoadImage(reader=CTReader), LoadImage(reader=["NibabelReader", CTReader])):
        with pytest.raises(error) as ours:
            loader(path)
        assert str(ours.value) == str(plain.value)
    automatic = LoadImage()
    automatic.register(CTReader())
    with pytest.raises((CtVaeError, RuntimeError)):
        automatic(path)
    with pytest.raises(RuntimeError, match="applying transform") as wrapped:
        Compose([LoadImaged("image", reader=CTReader)])({"image": path})
    assert isinstance(wrapped.value.__cause__, error)


def test_missing_paths_are_reported(tmp_path):
    with pytest.raises(NoInputError, match="no such file"):
        load(tmp_path / "absent.nii.gz")


def test_options_reach_the_reader_however_it_is_named(tmp_path):
    shifted = ct_volume()
    voxels = (shifted.voxels + 1024).clip(0).astype(np.int16)
    path = tmp_path / "a.nii.gz"
    write_volume(Volume(voxels, shifted.grid), path)
    with pytest.raises(InputError, match="hu-offset"):
        load(path)
    for reader in (CTReader, "ct_vae.preprocess.reader.CTReader"):
        image = LoadImage(reader=reader, hu_offset=-1024.0)(path)
        np.testing.assert_array_equal(image, voxels - 1024)
    assert "-1024 HU were added" in image.meta["warnings"]
    np.testing.assert_array_equal(LoadImage(reader=CTReader(force=True))(path), voxels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hu_offest": 1.0}, "did you mean hu_offset"),
        ({"squeeze": True}, "no option 'squeeze'"),
        ({"frame": -1}, "must be 0 or more"),
    ],
)
def test_wrong_options_are_reported_and_not_dropped(options, message):
    for reader in (CTReader, "ct_vae.preprocess.reader.CTReader"):
        with pytest.raises(ConfigError, match=message):
            LoadImage(reader=reader, **options)


def test_suffixes_that_are_taken(tmp_path):
    reader = CTReader()
    assert isinstance(reader, ImageReader)
    folder = write_series(tmp_path / "series", make_series(4))
    for name in ("a.nii.gz", "A.NII", "b.mha", "c.nrrd", "d.zip", "e.tar.gz"):
        assert reader.verify_suffix(tmp_path / name)
    assert reader.verify_suffix([folder, next(folder.iterdir())])
    for name in ("a.png", "a.npy", "a"):
        assert not reader.verify_suffix(tmp_path / name)
        assert not reader.verify_suffix([folder, tmp_path / name])


def test_workers_batch_what_they_read(tmp_path):
    paths = [tmp_path / "a.nii.gz", tmp_path / "b.mha"]
    for path in paths:
        write_volume(ct_volume(), path)
    pickle.loads(pickle.dumps(CTReader(force=True)))
    chain = Compose([LoadImaged("image", reader=CTReader), EnsureChannelFirstd("image")])
    data = Dataset([{"image": str(path)} for path in paths], chain)
    batch = next(iter(DataLoader(data, batch_size=2)))["image"]
    assert batch.shape == (2, 1, 13, 10, 11)
    assert batch.meta["warnings"] == ["", ""]
