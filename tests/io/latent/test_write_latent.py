import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from ct_vae.errors import ConfigError, InputError
from ct_vae.grid import Grid
from ct_vae.io import write_latent
from tests._asserts import assert_only_files
from tests.io._samples import latent_of
from tests.io.latent._cases import CASES


def test_float32_and_codes_are_bit_exact(tmp_path):
    for case in ("exact", "codes", "many codes", "constant"):
        latent, dtype = CASES[case]
        np.testing.assert_array_equal(
            write_latent(latent, tmp_path / "a.nii", dtype).array, latent.array
        )


def test_stored_types_are_the_smallest(tmp_path):
    for case, expected in [
        ("mean", "int16"),
        ("exact", "float32"),
        ("codes", "uint16"),
        ("many codes", "int32"),
    ]:
        latent, dtype = CASES[case]
        record = write_latent(latent, tmp_path / "a.nii", dtype).record
        assert record.quantisation.dtype == expected
        assert nib.load(tmp_path / "a.nii").get_data_dtype() == expected


def test_the_recorded_error_is_the_error(tmp_path):
    latent = latent_of()
    written = write_latent(latent, tmp_path / "a.nii.gz")
    error = written.array.astype(np.float64) - latent.array
    how = written.record.quantisation
    assert how.max_abs_error == np.abs(error).max()
    assert how.rmse == pytest.approx(np.sqrt((error**2).mean()))
    assert how.max_abs_error <= how.slope * 0.5001


# MONAI tries all of its readers, and one of them misses a GPU library.
@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_other_readers_agree_on_values_and_place(tmp_path, case):
    from monai.transforms import LoadImage

    latent, dtype = CASES[case]
    path = tmp_path / "x_latent.nii.gz"
    written = write_latent(latent, path, dtype)
    expected = np.moveaxis(written.array, 0, -1) if written.array.ndim == 4 else written.array
    scale = np.abs(expected).max() * 1e-6

    image = nib.load(path)
    assert image.shape == expected.shape
    np.testing.assert_allclose(image.get_fdata(), expected, rtol=0, atol=scale)
    assert Grid(latent.grid.shape, image.affine).distance_mm(latent.grid) < 1e-3
    np.testing.assert_allclose(image.header.get_qform(), image.affine, atol=1e-3)
    codes = (int(image.header["sform_code"]), int(image.header["qform_code"]))
    assert codes == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    if latent.record.kind == "codes":
        assert image.header["intent_code"] == 1002

    array, meta = LoadImage(image_only=False)(path)
    np.testing.assert_allclose(np.asarray(array), expected, rtol=0, atol=scale)
    assert Grid(latent.grid.shape, np.asarray(meta["affine"])).distance_mm(latent.grid) < 1e-3

    other = SimpleITK.ReadImage(str(path))
    values = SimpleITK.GetArrayFromImage(other)
    # ITK drops a last axis of one.
    np.testing.assert_allclose(values.T.reshape(expected.shape), expected, rtol=0, atol=scale)
    if other.GetDimension() == 4:
        other = other[:, :, :, 0]
    placed = Grid.from_lps(
        other.GetSize(), other.GetSpacing(), other.GetOrigin(), other.GetDirection()
    )
    assert placed.distance_mm(latent.grid) < 1e-3


def test_the_same_latent_gives_the_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_latent(latent_of(), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_other_types_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="float16"):
        write_latent(latent_of(), tmp_path / "a.nii.gz", "float16")


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (np.full((4, 3, 4, 5), np.nan, np.float32), "mean", "not finite"),
        (np.full((4, 3, 4, 5), np.inf, np.float32), "mean", "not finite"),
        (np.full((3, 4, 5), -1), "codes", "codes run from -1"),
        (np.full((3, 4, 5), 2**31), "codes", "2147483648"),
    ],
)
def test_values_that_cannot_be_stored_are_refused(tmp_path, array, kind, message):
    for dtype in ("int16", "float32"):
        with pytest.raises(InputError, match=message):
            write_latent(latent_of(kind, array=array), tmp_path / "a.nii.gz", dtype)
    assert_only_files(tmp_path, set())


def test_no_path_and_no_name_is_written(tmp_path):
    folder = tmp_path / "Doe^John"
    write_latent(latent_of(), folder / "Doe^John_latent.nii")
    for path in folder.iterdir():
        assert b"Doe" not in path.read_bytes()
