import os
import time

import pytest

from ct_vae.io.file_stamp import SETTLED_SECONDS, is_settled, stamp, stamps


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"content")
    return path


def replaced(path):
    other = path.with_name("b")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"other content"),
        lambda path: os.utime(path, (1, 1)),
        replaced,
    ],
)
def test_every_change_of_a_file_changes_its_stamp(file, change):
    before = stamp(file)
    assert stamp(file) == before
    change(file)
    assert stamp(file) != before


def test_reading_leaves_the_stamp(file):
    before = stamp(file)
    file.read_bytes()
    assert stamp(file) == before


def test_the_order_of_files_does_not_matter(tmp_path):
    files = [tmp_path / name for name in "cab"]
    for path in files:
        path.write_text(path.name)
    assert stamps(files) == stamps(reversed(files)) == sorted(map(stamp, files))


def test_a_file_is_settled_after_some_time(file):
    assert not is_settled(stamps([file]))
    now = time.time_ns()
    old = now - int((SETTLED_SECONDS + 1) * 1e9)
    assert is_settled([[1, 2, old, old]])
    # The status change counts as well as the modification.
    assert not is_settled([[1, 2, old, old], [1, 2, old, now]])
    assert is_settled([])


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        stamp(tmp_path / "absent")
