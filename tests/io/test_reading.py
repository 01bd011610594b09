import os
import re

import pytest

from ct_vae.errors import InputError, NoInputError
from ct_vae.io import read_volume
from ct_vae.io.reading import reading
from tests.io._samples import gz
from tests.io.nifti._refusal import refusal


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (bytes(1000), "only zeros"),
        (bytes(3), "only zeros"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "run git lfs pull"),
        (b"PK\x03\x04" + bytes(50), "zip archive"),
        (bytes(128) + b"DICM" + bytes(500), "DICOM"),
        (b'{"a": 1}', "JSON"),
        (b"hello world" * 100, "is not a NIfTI file"),
        (b"\x5c\x01\x00\x00" + bytes(100), "truncated: its header has 104 of 348"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    assert message in refusal(tmp_path, content)
    assert message in refusal(tmp_path, gz(content))


def test_folders_pipes_and_missing_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        read_volume(tmp_path)
    os.mkfifo(tmp_path / "pipe.nii")
    with pytest.raises(InputError, match="is a device or a pipe"):
        read_volume(tmp_path / "pipe.nii")
    with pytest.raises(NoInputError, match="no such file"):
        read_volume(tmp_path / "missing.nii.gz")
    with pytest.raises(InputError, match="cannot be read"):
        read_volume(tmp_path / "null\0byte.nii")


@pytest.mark.parametrize(
    ("raised", "expected", "words"),
    [
        (InputError("is damaged", "copy it"), InputError, "a.nii: is damaged; copy it"),
        (FileNotFoundError(), NoInputError, "a.nii: there is no such file"),
        (NotADirectoryError(), NoInputError, "a.nii: there is no such file"),
        (PermissionError(13, "Permission denied"), InputError, "cannot be read: Permission denied"),
        (ValueError("embedded null byte"), InputError, "cannot be read: embedded null byte"),
        (MemoryError(), InputError, "does not fit into this machine's memory"),
    ],
)
def test_errors_get_the_name_of_the_file(raised, expected, words):
    with pytest.raises(expected, match=re.escape(words)), reading("a.nii"):
        raise raised


def test_errors_of_programs_pass():
    with pytest.raises(KeyError), reading("a.nii"):
        raise KeyError("bug")
