import errno
import os
from pathlib import Path

import pytest
import torch

from ct_vae.errors import ConfigError, OutputError
from ct_vae.inference.streaming import feature_file
from ct_vae.inference.streaming.feature_file import FeatureFile, feature_folder
from ct_vae.io.mounts import Mount


def test_what_is_written_is_read_from_any_place(tmp_path):
    values = torch.arange(1000, dtype=torch.float64)
    file = FeatureFile(8000, tmp_path)
    file.write(4000, values[500:].clone())
    file.write(0, values[:500].clone())
    for start, stop in ((0, 1000), (999, 1000), (250, 750)):
        out = torch.empty(stop - start, dtype=torch.float64)
        file.read(8 * start, out)
        torch.testing.assert_close(out, values[start:stop], rtol=0, atol=0)
    file.close()


def test_nothing_lies_in_the_folder_even_while_the_file_is_used(tmp_path):
    """So that nothing is left whatever ends the process."""
    file = FeatureFile(2**20, tmp_path)
    file.write(0, torch.zeros(100))
    assert list(tmp_path.iterdir()) == []
    file.close()


def test_its_room_is_reserved_at_once(tmp_path):
    before = os.statvfs(tmp_path).f_bfree
    file = FeatureFile(2**26, tmp_path)
    assert os.fstat(file._file.fileno()).st_blocks * 512 >= 2**26
    assert before > 0
    file.close()


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(feature_file, "_reserve", full)
    with pytest.raises(OutputError, match=r"has no space for 2 GiB .*No space left"):
        FeatureFile(2**31, tmp_path)


def test_without_a_folder_for_temporary_files_the_others_are_tried(tmp_path, monkeypatch):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(feature_file.tempfile, "gettempdir", none)
    monkeypatch.chdir(tmp_path)
    assert feature_folder(1000) in (Path("/var/tmp"), tmp_path)


def test_a_folder_in_memory_or_without_room_is_passed_over(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    monkeypatch.setattr(feature_file.tempfile, "gettempdir", lambda: str(first))
    monkeypatch.chdir(second)
    assert feature_folder(1000) == first
    kinds = {first: "tmpfs"}
    monkeypatch.setattr(feature_file, "mount_of", lambda folder: Mount(kinds.get(folder, "ext4")))
    assert feature_folder(1000) != first
    with pytest.raises(ConfigError, match=r"first is in memory, .*second has only .*TMPDIR"):
        feature_folder(2**60)
