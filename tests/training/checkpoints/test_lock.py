import errno
import fcntl

import pytest

from ct_vae.errors import ConfigError, OutputError
from ct_vae.training.checkpoints.lock import LOCK, run_lock


def test_a_folder_is_held_for_the_block_and_no_longer(tmp_path):
    with run_lock(tmp_path / "run"), pytest.raises(ConfigError, match="another process trains"):
        run_lock(tmp_path / "run").__enter__()
    with run_lock(tmp_path / "run"):
        pass


def test_where_there_are_no_locks_nobody_is_refused(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with run_lock(tmp_path):
        assert (tmp_path / LOCK).read_text().startswith("process ")


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        run_lock(tmp_path / "file" / "run").__enter__()
