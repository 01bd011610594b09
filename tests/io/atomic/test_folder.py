import os

import pytest

from ct_vae.errors import OutputError
from ct_vae.io.atomic.folder import atomic_folder
from tests.io._samples import CODES, Disk


def fill(target, text):
    with atomic_folder(target, overwrite=True) as folder:
        folder.write("a.txt", text)
        folder.write("inner/b.txt", text)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("code", CODES, ids=os.strerror)
def test_an_older_folder_comes_back_whatever_fails(tmp_path, monkeypatch, code):
    fill(tmp_path / "there", b"old")
    before = contents(tmp_path)
    disk = Disk(monkeypatch)
    disk.clear()
    fill(tmp_path / "other", b"x" * 500)
    fill(tmp_path / "other", b"x" * 500)
    points = disk.points()
    assert {name for name, _ in points} == {"write", "fsync", "replace"}
    disk.clear()
    fill(tmp_path / "other", b"")
    # Two files, their folders, and the one in which names were changed.
    assert disk.counts["fsync"] == 5
    failed = 0
    for name, number in points:
        disk.fail_at(name, number, code)
        try:
            fill(tmp_path / "there", b"x" * 500)
        except OutputError:
            failed += 1
            disk.heal()
            assert {k: v for k, v in contents(tmp_path).items() if "other" not in k} == before
        disk.heal()
        fill(tmp_path / "there", b"old")
    assert failed > len(points) // 3
