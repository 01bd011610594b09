import shutil

import nibabel as nib
import pytest

from ct_vae.io import scan_series, write_volume
from ct_vae.io.source_files import data_files, source_files
from tests.io._itk_files import write_itk
from tests.io._samples import ct_volume
from tests.io._series import make_series, write_series
from tests.io.nifti._pairs import write_pair


def test_a_file_consists_of_itself_whether_it_exists_or_not(tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    for name in ("a.nii.gz", "absent.nii.gz"):
        assert source_files(tmp_path / name) == (tmp_path / name,)
        assert data_files(tmp_path / name) == ()


def test_a_header_is_followed_by_its_data(tmp_path):
    (tmp_path / "itk").mkdir()
    data = write_itk(tmp_path / "itk" / "a.mhd")
    assert source_files(tmp_path / "itk" / "a.mhd") == (tmp_path / "itk" / "a.mhd", data)
    header, image = write_pair(tmp_path, nib.Nifti1Pair)
    assert source_files(header) == source_files(image) == (header, image)


def test_missing_data_are_left_to_the_reader(tmp_path):
    header, image = write_pair(tmp_path)
    image.unlink()
    assert source_files(header) == (header,)


def test_a_series_consists_of_its_slices_and_a_folder_of_all_files(tmp_path):
    folder = write_series(tmp_path / "s", make_series())
    (series,) = scan_series(folder)
    slices = set(folder.iterdir())
    (folder / "notes.txt").write_text("x")
    assert set(source_files(series.path, series)) == slices
    assert set(source_files(folder)) == {*slices, folder / "notes.txt"}


@pytest.mark.parametrize("selected", [False, True])
def test_an_archive_is_one_file(tmp_path, selected):
    write_series(tmp_path / "s", make_series())
    archive = tmp_path / "s.zip"
    shutil.make_archive(str(tmp_path / "s"), "zip", tmp_path / "s")
    (series,) = scan_series(archive)
    path = series.path if selected else archive
    assert source_files(path, series) == (archive,)
