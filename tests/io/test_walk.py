import os
from pathlib import Path

import pytest

from ct_vae.find_volumes.cases import discover
from ct_vae.io.walk import walk_files
from tests.find_volumes.test_items import lock


def test_files_come_in_the_order_of_their_names_without_what_is_hidden(tmp_path):
    for name in ("b/x", "a/y", "a/.h", ".c/z", "d"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "e").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in walk_files(tmp_path)]
    assert found == ["a/y", "b/x", "d", "e"]


def test_folders_may_be_nested_to_any_depth(tmp_path):
    """Python's own recursion ends at a thousand, and so may paths, which are told."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (tmp_path / "file").touch()
    barred: dict[Path, str] = {}
    try:
        assert list(walk_files(tmp_path, barred)) == [tmp_path / "file"]
        assert not barred
    finally:
        # Whoever cleans up behind tests may not reach the bottom.
        for depth in range(1500, 0, -1):
            tmp_path.joinpath(*["d"] * depth).rmdir()


def test_a_folder_that_cannot_be_listed_is_reported_and_passed_over(tmp_path, monkeypatch):
    for name in ("a", "locked", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.nii").touch()
    lock(monkeypatch, "locked")
    barred: dict[Path, str] = {}
    assert [path.parent.name for path in walk_files(tmp_path, barred)] == ["a", "z"]
    assert barred == {tmp_path / "locked": "cannot be searched: Permission denied"}
    with pytest.raises(PermissionError):
        list(walk_files(tmp_path))
    told: list[str] = []
    assert [case.key for case in discover([tmp_path], report=told.append)] == ["a/x", "z/x"]
    assert told == [f"warning: {tmp_path / 'locked'} cannot be searched: Permission denied"]
