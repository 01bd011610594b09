import shutil
import threading

import numpy as np
import pytest

from ct_vae.io import read_volume, scan_series
from tests.io._dicom_checks import refusal, verdicts
from tests.io._series import assert_nothing_identifying, hounsfield, make_series, save, write_series


@pytest.fixture
def folder(tmp_path):
    return write_series(tmp_path / "series", make_series())


def test_several_series_are_distinguished_and_named(tmp_path):
    for number in (4, 7):
        slices = make_series(seed=number)
        for dataset in slices:
            dataset.SeriesInstanceUID += f".{number}"
            dataset.SeriesNumber = number
        write_series(tmp_path / "all", slices, lambda k, n=number: f"{k}-{n}")
    found = scan_series(tmp_path / "all")
    assert [each.number for each in found] == [4, 7]
    text = refusal(tmp_path / "all")
    assert "2 CT series" in text
    for each in found:
        assert each.id in text
        volume = read_volume(tmp_path / "all" / f"#{each.id}")
        np.testing.assert_array_equal(volume.voxels, hounsfield(seed=each.number))
    assert "there is no such series" in refusal(tmp_path / "all" / "#s001_00000000")
    assert_nothing_identifying(text + repr(found))


def test_an_id_stays_the_same_wherever_the_series_is(folder, tmp_path):
    (here,) = scan_series(folder)
    moved = tmp_path / "else" / "deep"
    shutil.copytree(folder, moved)
    other = make_series(seed=5)
    for dataset in other:
        dataset.SeriesInstanceUID += ".9"
    write_series(tmp_path / "else", other)
    assert here.id in {each.id for each in scan_series(tmp_path / "else")}


def test_others_in_the_folder_are_skipped_with_their_reason(folder):
    for k, (modality, kind) in enumerate([("MR", "AXIAL"), ("SEG", "AXIAL"), ("CT", "LOCALIZER")]):
        dataset = make_series(1, seed=k)[0]
        dataset.Modality, dataset.ImageType = modality, ["ORIGINAL", "PRIMARY", kind]
        dataset.SeriesInstanceUID += f".{k + 5}"
        dataset.SeriesNumber = 50 + k
        save(dataset, folder / f"other{k}")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    told = " ".join(volume.warnings)
    for reason in ("modality MR: not CT", "a segmentation", "a localizer"):
        assert reason in told
    assert_nothing_identifying(told)
    assert [each[2] for each in verdicts(folder)] == ["ok", "skipped", "skipped", "skipped"]


def test_readers_in_threads_do_not_disturb_each_other(folder):
    results, errors = [], []

    def read():
        try:
            results.append(read_volume(folder).voxels)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for voxels in results:
        np.testing.assert_array_equal(voxels, hounsfield())
