import os

import pytest

from ct_vae.io.atomic import leftovers as module
from ct_vae.io.atomic.file import atomic_write, write_text
from ct_vae.io.atomic.folder import atomic_folder
from ct_vae.io.atomic.leftovers import leftovers
from tests._asserts import assert_only_files


@pytest.fixture
def listings(monkeypatch):
    """Folders that have been listed."""
    seen, real = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: (seen.append(folder), real(folder))[1])
    monkeypatch.setattr(module, "_found", {})
    return seen


def test_a_folder_is_listed_once_however_many_files_are_written(tmp_path, listings):
    for i in range(20):
        write_text(tmp_path / f"{i}.json", "x")
        with atomic_folder(tmp_path / f"folder_{i}") as folder:
            folder.write("a", b"x")
    assert listings == [tmp_path]


def test_leftovers_of_every_target_are_cleaned_when_it_is_written(tmp_path, listings):
    for i in range(3):
        (tmp_path / f".{i}.json.0123abc{i}.tmp").write_text("half")
    (tmp_path / ".0.json.0123abcd.txt").write_text("not ours")
    (tmp_path / ".rsync.abcdef.tmp").write_text("not ours")
    assert [path.name for path, _ in leftovers(tmp_path / "1.json")] == [".1.json.0123abc1.tmp"]
    for i in range(2):
        write_text(tmp_path / f"{i}.json", "x")
    assert_only_files(
        tmp_path,
        {"0.json", "1.json", ".2.json.0123abc2.tmp", ".0.json.0123abcd.txt", ".rsync.abcdef.tmp"},
    )


def test_what_is_left_while_this_process_lives_is_met_without_listing(tmp_path, listings):
    write_text(tmp_path / "a", "x")
    for number in range(2):
        (tmp_path / f".a.{number:08x}.tmp").write_text("half")
    (tmp_path / ".a.00000000.tmp").unlink()
    (tmp_path / ".a.00000000.tmp").symlink_to("a")
    with atomic_write(tmp_path / "a") as file:
        file.write(b"y")
    assert (tmp_path / "a").read_bytes() == b"y"
    assert {p.name for p in tmp_path.iterdir()} == {"a", ".a.00000000.tmp"}


def test_a_file_is_not_removed_under_a_name_that_has_become_anothers(tmp_path):
    """What one writer gives up after publishing may be the next one's temporary file."""
    with atomic_write(tmp_path / "a") as first:
        first.write(b"1")
        with atomic_write(tmp_path / "a") as second:
            second.write(b"2")
            assert {p.name for p in tmp_path.iterdir()} == {".a.00000000.tmp", ".a.00000001.tmp"}
        assert (tmp_path / "a").read_bytes() == b"2"
    assert (tmp_path / "a").read_bytes() == b"1"
    assert_only_files(tmp_path, {"a"})
