import errno
import fcntl
import os

import pytest

from ct_vae.datasets.cache.volume_cache import VolumeCache
from ct_vae.errors import OutputError
from ct_vae.io.lock_file import lock, open_lock_file
from ct_vae.training.checkpoints.lock import run_lock
from ct_vae.training.reporting.run_log import RunLog
from tests._forked import begin, finish


def test_it_is_made_and_opened_again(tmp_path):
    for _ in range(2):
        os.close(open_lock_file(tmp_path / "lock"))
    assert (tmp_path / "lock").read_bytes() == b""


@pytest.mark.parametrize("plant", [os.symlink, os.link])
@pytest.mark.parametrize(
    ("name", "use"),
    [
        (".lock", lambda folder: run_lock(folder).__enter__()),
        ("locks", lambda folder: VolumeCache(folder).writing("0" * 64, wait=False).__enter__()),
    ],
)
def test_a_planted_link_costs_nothing_that_it_leads_to(tmp_path, plant, name, use):
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("precious")
    folder.mkdir()
    plant(victim, folder / name)
    with pytest.raises(OutputError, match="the name is a link"):
        use(folder)
    assert victim.read_text() == "precious"


def test_a_log_follows_no_link(tmp_path):
    (tmp_path / "victim").write_text("precious without an end of line")
    (tmp_path / "metrics.jsonl").symlink_to("victim")
    with pytest.raises(OutputError, match="the name is a link"):
        RunLog(tmp_path / "metrics.jsonl")
    assert (tmp_path / "victim").read_text() == "precious without an end of line"


def test_a_device_is_no_lock_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="link or a device"):
        open_lock_file(tmp_path / "pipe")


@pytest.mark.parametrize("byte", [None, 7, 16**15 - 1])
def test_a_lock_is_held_until_it_is_closed_and_by_no_two_processes(tmp_path, byte):
    path = tmp_path / "lock"
    holder = open_lock_file(path)
    assert lock(holder, byte=byte) == "held"
    assert other_process_gets(path, byte) == "busy"
    os.close(holder)
    assert other_process_gets(path, byte) == "held"


def test_bytes_of_one_file_are_locked_apart_and_folders_can_be_locked(tmp_path):
    holder = open_lock_file(tmp_path / "lock")
    folder = os.open(tmp_path, os.O_RDONLY)
    assert lock(holder, byte=1) == lock(folder, wait=True) == "held"
    assert other_process_gets(tmp_path / "lock", 2) == "held"
    again = os.open(tmp_path, os.O_RDONLY)
    assert lock(again) == "busy"
    for descriptor in (holder, folder, again):
        os.close(descriptor)


def test_a_file_system_without_locks_differs_from_a_busy_lock(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    descriptor = open_lock_file(tmp_path / "lock")
    assert lock(descriptor) == lock(descriptor, wait=True) == "missing"
    os.close(descriptor)


def other_process_gets(path, byte):
    """The state of a lock as another process finds it."""
    answer = path.with_name("answer")
    finish(begin(write_state, path, byte, answer))
    return answer.read_text()


def write_state(path, byte, answer):
    answer.write_text(lock(os.open(path, os.O_RDWR), byte=byte))
