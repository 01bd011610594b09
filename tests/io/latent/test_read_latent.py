import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import ConfigError, CtVaeError, InputError, NoInputError
from ct_vae.io import read_latent, read_volume, write_latent
from ct_vae.io.atomic.file import sha256_file
from ct_vae.io.latent.read_latent import whole_record
from ct_vae.io.latent.record import record_path
from tests._asserts import assert_only_files
from tests.io._samples import ct_volume, latent_of
from tests.io.latent._cases import CASES


def assert_equal(a, b):
    assert a.array.dtype == b.array.dtype
    np.testing.assert_array_equal(a.array, b.array)
    assert a.grid == b.grid
    assert a.record == b.record


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


def test_only_a_complete_latent_has_a_whole_record(pair):
    path, beside = pair
    record = whole_record(path)
    assert record is not None
    assert (record.source.sha256, record.model.sha256) == ("b" * 64, "a" * 64)
    assert whole_record(path.with_name("other.nii.gz")) is None
    content, text = path.read_bytes(), beside.read_text()
    path.write_bytes(content[:-1])
    assert whole_record(path) is None
    path.write_bytes(content)
    beside.write_text(text[:-20])
    assert whole_record(path) is None
    beside.unlink()
    assert whole_record(path) is None
    beside.write_text(text)
    assert whole_record(path) is not None
    path.unlink()
    assert whole_record(path) is None


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
