import os

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from ct_vae.io import scan_series
from tests.io._series import (
    file_meta,
    make_series,
    save,
    write_series,
)
from tests.io.dicom._reading import check, refusal


@pytest.fixture
def folder(tmp_path):
    return write_series(tmp_path / "series", make_series())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"hello"),
        ("Thumbs.db", bytes(range(256)) * 9),
        ("empty", b""),
        ("report.pdf", b"%PDF-1.4"),
        ("picture.png", b"\x89PNG\r\n" + bytes(500)),
        ("zeros", bytes(4096)),
        ("IM0001", b"\x08\x00\x05\x00CS\x0a\x00garbage that is no data set"),
        ("short", b"\x08\x00"),
        (".IM0001.dcm", b"junk"),
        ("._IM0001", bytes(100)),
    ],
)
def test_other_files_are_passed_over(folder, name, content):
    (folder / name).write_bytes(content)
    assert check(folder).warnings == ()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.dcm", b"", "is empty"),
        ("a.DCM", b"junk" * 100, "the name of a DICOM file, but no DICOM header"),
        ("a.dcm", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("a", bytes(100), "is truncated"),
        ("a", bytes(128) + b"DI", "no DICOM header"),
        ("a", bytes(128) + b"DICM", "without SOP class"),
        ("a", bytes(128) + b"DICM" + b"\2\0\0\0UL\4\0", "without SOP class"),
    ],
)
def test_a_file_that_may_be_a_lost_slice_is_named(folder, name, content, message):
    (folder / name).write_bytes(content)
    text = refusal(folder)
    assert f"file {name} " in text
    assert message in text
    assert "may be missing" in text


def test_many_damaged_files_are_reported_in_one_line(folder):
    for path in list(folder.iterdir())[:5]:
        path.write_bytes(path.read_bytes()[:140])
    assert "5 files cannot be read" in refusal(folder)


def test_damage_elsewhere_does_not_concern_a_series(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "x.dcm").write_bytes(b"junk")
    (warning,) = check(folder).warnings
    assert warning.endswith("was refused: files that cannot be read")
    # Warnings get into the records of latents, where no name may stand.
    assert "x.dcm" not in warning
    good, bad = sorted(scan_series(folder), key=lambda each: each.verdict)
    assert (good.verdict, bad.verdict) == ("ok", "refused")
    assert "x.dcm" in bad.reason


def test_files_without_preamble_are_read(tmp_path):
    for k, dataset in enumerate(make_series()):
        path = tmp_path / f"{k}"
        implicit = k % 2 == 0
        del dataset.file_meta
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    check(tmp_path)


def test_a_dicomdir_is_ignored_wherever_it_points(folder, tmp_path):
    secret = save(make_series(1)[0], tmp_path / "secret")
    index = Dataset()
    index.FileSetID = "X"
    record = Dataset()
    record.DirectoryRecordType = "IMAGE"
    with pydicom.config.disable_value_validation():
        record.ReferencedFileID = ["..", "secret"]
        index.DirectoryRecordSequence = Items([record])
        index.file_meta = file_meta("1.2.840.10008.1.3.10", "1.2.3", "1.2.840.10008.1.2.1")
        save(index, folder / "DICOMDIR")
    opened = []
    real = type(secret).open

    def watch(self, *args, **kwargs):
        opened.append(self.name)
        return real(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(secret), "open", watch)
        assert check(folder).warnings == ()
    assert "DICOMDIR" in opened
    assert "secret" not in opened


def test_links_circles_and_pipes_do_no_harm(folder):
    (folder / "circle").symlink_to(folder)
    (folder / "nowhere").symlink_to(folder / "gone")
    os.mkfifo(folder / "pipe")
    check(folder)


@pytest.mark.parametrize("name", ["with space", "döt.ted", "new\nline", "-o", "a" * 200])
def test_any_name_of_a_folder_is_read(tmp_path, name):
    folder = write_series(tmp_path / name, make_series(), lambda k: f"{k} {name}"[:200])
    check(folder)


def test_slices_may_be_in_folders_of_their_own(tmp_path):
    write_series(tmp_path, make_series(), lambda k: f"{k}/image")
    check(tmp_path)
    (found,) = scan_series(tmp_path)
    assert found.path == tmp_path / f"#{found.id}"


def test_a_file_that_cannot_be_opened_is_refused(folder, monkeypatch):
    path = sorted(folder.iterdir())[3]
    real = type(path).open

    def fail(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(path), "open", fail)
    assert "Permission denied" in refusal(folder)


def test_floating_point_pixels_are_refused(folder):
    path = sorted(folder.iterdir())[2]
    dataset = pydicom.dcmread(path)
    dataset.FloatPixelData = np.zeros((12, 10), "<f4").tobytes()
    del dataset.PixelData
    dataset.save_as(path)
    assert "floating-point pixel data" in refusal(folder)
