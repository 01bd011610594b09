import os

import pytest

from ct_vae.datasets.cache import fingerprint
from ct_vae.datasets.cache.fingerprint import Fingerprints
from ct_vae.errors import NoInputError
from ct_vae.io import file_stamp


@pytest.fixture
def files(tmp_path):
    found = []
    for name, content in (("a.dcm", b"one"), ("b.dcm", b"two")):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        found.append(path)
    return found


@pytest.fixture
def settled(monkeypatch):
    """Files are as old as it takes."""
    monkeypatch.setattr(file_stamp, "SETTLED_SECONDS", -3600.0)


def reads(monkeypatch):
    """The files whose bytes are read from now on."""
    seen = []
    real = fingerprint.sha256_file
    monkeypatch.setattr(fingerprint, "sha256_file", lambda path: (seen.append(path), real(path))[1])
    return seen


def test_content_alone_decides(tmp_path, files):
    memory = Fingerprints(tmp_path / "memory")
    first = memory.of(files)
    assert len(first) == 64
    assert memory.of(files[::-1]) == first
    moved = [path.rename(tmp_path / f"other_{i}") for i, path in enumerate(files)]
    assert memory.of(moved) == first
    assert memory.of(moved[:1]) != first
    moved[0].write_bytes(b"One")
    assert memory.of(moved) != first


def test_untouched_files_are_read_once(tmp_path, files, settled, monkeypatch):
    seen = reads(monkeypatch)
    first = Fingerprints(tmp_path / "memory").of(files)
    assert Fingerprints(tmp_path / "memory").of(files) == first
    assert len(seen) == 2


def test_a_change_is_seen_although_size_and_time_of_modification_stay(
    tmp_path, files, settled, monkeypatch
):
    memory = Fingerprints(tmp_path / "memory")
    first = memory.of(files)
    before = files[0].stat()
    files[0].write_bytes(b"eno")
    os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert memory.of(files) != first


def test_files_of_this_moment_are_not_trusted(tmp_path, files, monkeypatch):
    """They may change within one tick of the clock, and then look the same."""
    seen = reads(monkeypatch)
    memory = Fingerprints(tmp_path / "memory")
    assert memory.of(files) == memory.of(files)
    assert len(seen) == 4


@pytest.mark.parametrize("junk", [b"", b"x" * 64, b"\xff\xfe", b"ab" * 31])
def test_a_damaged_memory_is_not_believed(tmp_path, files, settled, junk):
    memory = Fingerprints(tmp_path / "memory")
    first = memory.of(files)
    (note,) = (tmp_path / "memory").iterdir()
    note.write_bytes(junk)
    assert memory.of(files) == first
    assert note.read_text().strip() == first


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path, files, settled):
    (tmp_path / "memory").write_text("a file where a folder should be")
    assert Fingerprints(tmp_path / "memory").of(files)


def test_nothing_of_the_names_is_kept(tmp_path, files, settled):
    Fingerprints(tmp_path / "memory").of(files)
    (note,) = (tmp_path / "memory").iterdir()
    assert "dcm" not in note.name + note.read_text()


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(NoInputError, match=r"gone\.nii: there is no such file"):
        Fingerprints(tmp_path).of([tmp_path / "gone.nii"])
