import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import ConfigError, CtVaeError, InputError, NoInputError
from ct_vae.grid import Grid
from ct_vae.io import read_latent, read_volume, write_latent
from ct_vae.io.atomic.file import sha256_file
from ct_vae.io.latent.file import is_done
from ct_vae.io.latent.record import record_path
from tests._asserts import assert_only_files
from tests.io._samples import ct_volume, latent_of


def assert_equal(a, b):
    assert a.array.dtype == b.array.dtype
    np.testing.assert_array_equal(a.array, b.array)
    assert a.grid == b.grid
    assert a.record == b.record


CASES = {
    "mean": (latent_of(), "int16"),
    "exact": (latent_of(), "float32"),
    "sample": (latent_of("sample"), "int16"),
    "one channel": (latent_of(channels=1), "int16"),
    "codes": (latent_of("codes"), "int16"),
    "many codes": (latent_of("codes", array=np.full((3, 4, 5), 70000)), "int16"),
    "2-D model": (latent_of(factor=(4, 4, 1), shape=(3, 4, 9)), "int16"),
    "constant": (latent_of(array=np.full((4, 3, 4, 5), 2.5, np.float32)), "int16"),
}


@pytest.mark.parametrize("name", ["x_latent.nii.gz", "x.y_latent.nii", "X.NII.GZ"])
@pytest.mark.parametrize("case", CASES)
def test_what_was_written_is_read(tmp_path, name, case):
    latent, dtype = CASES[case]
    written = write_latent(latent, tmp_path / name, dtype)
    assert_equal(read_latent(tmp_path / name), written)
    assert written.grid == latent.grid
    assert written.record.file_sha256 == sha256_file(tmp_path / name)
    stem = name.lower().removesuffix(".gz").removesuffix(".nii")
    assert_only_files(tmp_path, {name, f"{name[: len(stem)]}.json"})


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


@pytest.mark.parametrize("case", CASES)
def test_the_file_alone_is_enough(tmp_path, case):
    latent, dtype = CASES[case]
    path = tmp_path / "a_latent.nii.gz"
    written = write_latent(latent, path, dtype)
    (tmp_path / "a_latent.json").unlink()
    again = read_latent(path)
    assert again.record.warnings == (
        "the record file was missing; the copy in the header was used",
    )
    expected = written.record.model_copy(
        update={"run": None, "file_sha256": None, "warnings": again.record.warnings}
    )
    assert again.record == expected
    np.testing.assert_array_equal(again.array, written.array)
    assert again.grid == written.grid


def test_a_latent_is_no_volume_and_a_volume_no_latent(tmp_path):
    from ct_vae.io import write_volume

    for kind in ("mean", "codes"):
        write_latent(latent_of(kind, channels=1), tmp_path / "a.nii.gz")
        with pytest.raises(InputError, match="decode it instead"):
            read_volume(tmp_path / "a.nii.gz")
    write_volume(ct_volume(), tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match="is not a latent of this package: it has no record"):
        read_latent(tmp_path / "b.nii.gz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NoInputError, match="no such file"):
        read_latent(tmp_path / "a.nii.gz")
    write_latent(latent_of(), tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").unlink()
    with pytest.raises(NoInputError, match="no such file"):
        read_latent(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("name", ["a.json", "a", ".nii.gz", "a.mha"])
def test_other_names_are_refused(tmp_path, name):
    for act in (read_latent, lambda path: write_latent(latent_of(), path)):
        with pytest.raises(ConfigError, match=r"\.nii\.gz, \.nii or \.latz"):
            act(tmp_path / name)


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


@pytest.fixture
def pair(tmp_path):
    write_latent(latent_of(), tmp_path / "a_latent.nii.gz")
    return tmp_path / "a_latent.nii.gz", tmp_path / "a_latent.json"


def test_an_edited_file_does_not_belong_to_its_record(pair, tmp_path):
    write_latent(latent_of(seed=5), tmp_path / "b.nii.gz")
    (tmp_path / "b.nii.gz").replace(pair[0])
    with pytest.raises(InputError, match=r"does not belong to its record.*encode the source again"):
        read_latent(pair[0])


@given(st.data())
def test_a_damaged_file_without_its_record_gives_the_original_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "d_latent.nii.gz"
    written = write_latent(latent_of(), path)
    path.with_name("d_latent.json").unlink()
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path.write_bytes(content)
    try:
        again = read_latent(path)
    except CtVaeError:
        return
    np.testing.assert_array_equal(again.array, written.array)
    assert again.grid == written.grid


def test_a_file_moved_in_its_header_does_not_fit_the_record_it_carries(tmp_path):
    path = tmp_path / "a_latent.nii"
    write_latent(latent_of(), path)
    path.with_name("a_latent.json").unlink()
    content = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    header["srow_x"][3] += 1
    path.write_bytes(header.binaryblock + content[348:])
    with pytest.raises(InputError, match="does not follow from its record"):
        read_latent(path)


def test_only_a_verified_result_counts_as_done(pair):
    path, beside = pair
    source, model = "b" * 64, "a" * 64
    assert is_done(path, source, model)
    assert not is_done(path, "c" * 64, model)
    assert not is_done(path, source, "c" * 64)
    assert not is_done(path.with_name("other.nii.gz"), source, model)
    content, text = path.read_bytes(), beside.read_text()
    path.write_bytes(content[:-1])
    assert not is_done(path, source, model)
    path.write_bytes(content)
    beside.write_text(text[:-20])
    assert not is_done(path, source, model)
    beside.unlink()
    assert not is_done(path, source, model)
    beside.write_text(text)
    assert is_done(path, source, model)
    path.unlink()
    assert not is_done(path, source, model)


def test_no_path_and_no_name_is_written(tmp_path):
    folder = tmp_path / "Doe^John"
    write_latent(latent_of(), folder / "Doe^John_latent.nii")
    for path in folder.iterdir():
        assert b"Doe" not in path.read_bytes()


def test_numbers_that_damage_has_made_endless_are_refused(tmp_path):
    """Without its record a plain file has no checksum, and any bits are some number."""
    path = tmp_path / "a_latent.nii"
    write_latent(latent_of(), path, "float32")
    record_path(path).unlink()
    data = path.read_bytes()
    for spoilt in (b"\xff\xff\xff\xff", b"\x00\x00\x80\x7f"):
        path.write_bytes(data[:-4] + spoilt)
        with pytest.raises(InputError, match=r"a_latent.nii: has values that are not finite"):
            read_latent(path)


@pytest.mark.parametrize("beside", [True, False])
def test_files_of_version_1_are_read(tmp_path, beside):
    here = Path(__file__).parent
    for name in ("version_1_latent.nii.gz", "version_1_latent.json")[: 1 + beside]:
        shutil.copy(here / name, tmp_path / name)
    found = read_latent(tmp_path / "version_1_latent.nii.gz")
    expected = latent_of(shape=(2, 3, 2))
    assert found.record.format_version == 1
    assert found.record.statistics.posterior_std is None
    assert found.std is None
    how = found.record.quantisation
    np.testing.assert_allclose(found.array, expected.array, atol=how.max_abs_error, rtol=0)
    written = write_latent(found, tmp_path / "again.nii.gz", "float32")
    assert written.record.format_version == 2
    np.testing.assert_array_equal(read_latent(tmp_path / "again.nii.gz").array, written.array)
