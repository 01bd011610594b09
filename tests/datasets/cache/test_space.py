import errno
import os
import shutil

import pytest

from ct_vae.datasets.cache.space import CacheSpace, earlier_entries, free_bytes
from ct_vae.errors import OutputError

GIB = 2**30


def test_free_space_is_that_of_the_disk_also_of_a_folder_that_is_yet_to_be_made(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    for folder in (tmp_path, tmp_path / "not" / "yet"):
        assert abs(free_bytes(folder) - free) < GIB
    assert not (tmp_path / "not").exists()


def test_temporary_files_are_free_space(tmp_path, monkeypatch):
    status = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: status)
    before = free_bytes(tmp_path)
    (tmp_path / ".key.bricks.00000000.tmp").write_bytes(bytes(1000))
    (tmp_path / "key.bricks").write_bytes(bytes(500))
    assert free_bytes(tmp_path) - before == 1000


def test_a_file_system_that_does_not_answer_is_reported(tmp_path, monkeypatch):
    def stale(_):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "statvfs", stale)
    with pytest.raises(OutputError, match=os.strerror(errno.ESTALE)):
        free_bytes(tmp_path)


def test_a_line_tells_what_the_cache_takes_and_what_is_free(tmp_path):
    space = CacheSpace(tmp_path, [GIB, GIB], [GIB, 2 * GIB], 4 * GIB)
    assert space.line == (
        f"the cache of 4 training case(s) takes 5.0 GiB in {tmp_path}; 2 of them (3.0 GiB) have to "
        "be written, and 4.0 GiB are free"
    )
    assert space.problem is None
    assert "at least 1.0 GiB" in CacheSpace(tmp_path, [], [GIB, None], GIB).line


def test_a_cache_that_does_not_fit_is_a_problem(tmp_path):
    problem = CacheSpace(tmp_path, [9 * GIB], [GIB, 3 * GIB, None], 3 * GIB).problem
    assert "needs 4.0 GiB more for 3 training case(s), and 3.0 GiB are free" in problem.cause


def test_no_folder_holds_no_earlier_entries(tmp_path):
    assert earlier_entries(tmp_path / "none") is None
    assert earlier_entries(tmp_path) is None
