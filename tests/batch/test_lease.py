import errno
import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from ct_vae.batch import lease
from ct_vae.batch.lease import Leases, is_running, lease_path
from ct_vae.errors import OutputError
from ct_vae.io.mounts import Mount
from tests._asserts import assert_only_files

HOLD = """
import sys
from pathlib import Path
from ct_vae.batch.lease import Leases
with Leases() as leases:
    print(leases.take(Path(sys.argv[1])), flush=True)
    sys.stdin.read()
"""


def holder(target):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "None\n"
    return process


def test_another_process_is_named_and_let_go_of_when_it_dies(tmp_path):
    target = tmp_path / "below" / "a_latent.nii.gz"
    with holder(target) as process, Leases() as leases:
        assert str(leases.take(target)) == f"process {process.pid} on {os.uname().nodename}"
        assert leases.take(target).locked
        assert leases.take(tmp_path / "other") is None
        process.kill()
        process.wait()
        assert lease_path(target).exists()
        assert leases.take(target) is None
    assert_only_files(tmp_path, set())


def test_a_lease_that_was_given_back_is_anyones(tmp_path):
    with Leases() as first, Leases() as second:
        assert first.take(tmp_path / "a") is None
        assert second.take(tmp_path / "a") is not None
        second.give_back(tmp_path / "a")
        assert lease_path(tmp_path / "a").exists()
        first.give_back(tmp_path / "a")
        assert not lease_path(tmp_path / "a").exists()
        assert second.take(tmp_path / "a") is None


def foreign(target, age_s=60):
    """A lease of another host that nobody has locked here."""
    path = lease_path(target)
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_where_locks_are_everybodys_a_lease_without_one_is_free_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "mount_of", lambda _: Mount("nfs4"))
    path = foreign(tmp_path / "a", age_s=0)
    with Leases() as leases:
        assert leases.take(tmp_path / "a") is None
        assert json.loads(path.read_text())["host"] == os.uname().nodename


@pytest.mark.parametrize(("age_s", "held"), [(60, True), (3600, False)])
def test_elsewhere_a_holder_on_another_host_lives_while_it_touches_its_lease(
    tmp_path, monkeypatch, age_s, held
):
    monkeypatch.setattr(lease, "mount_of", lambda _: Mount("beegfs"))
    foreign(tmp_path / "a", age_s)
    with Leases() as leases:
        found = leases.take(tmp_path / "a")
        assert (found is not None) == held
        assert not held or (str(found), found.locked) == ("process 1 on elsewhere", False)


def test_elsewhere_a_lease_that_stays_untouched_while_it_is_watched_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "mount_of", lambda _: Mount())
    clock = [0.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: clock[0])
    path = foreign(tmp_path / "a")
    with Leases() as leases:
        assert leases.take(tmp_path / "a") is not None
        clock[0] += lease.SILENT_S - 1
        assert leases.take(tmp_path / "a") is not None
        os.utime(path)
        clock[0] += 2
        assert leases.take(tmp_path / "a") is not None
        clock[0] += lease.SILENT_S
        assert leases.take(tmp_path / "a") is None


@pytest.mark.parametrize("how", ["symbolic", "hard", "own file", "pipe"])
def test_what_is_in_the_place_of_a_lease_is_never_written_to(tmp_path, how):
    victim, path = tmp_path / "victim", lease_path(tmp_path / "a")
    victim.write_text("precious")
    if how == "symbolic":
        path.symlink_to(victim)
    elif how == "hard":
        path.hardlink_to(victim)
    elif how == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("precious")
    with Leases() as leases, pytest.raises(OutputError, match="the name is a link"):
        leases.take(tmp_path / "a")
    assert victim.read_text() == "precious"
    assert os.path.lexists(path)
    assert how != "own file" or path.read_text() == "precious"


@pytest.mark.parametrize("left", [b"", b"\0" * 40])
def test_a_lease_that_a_killed_process_left_unsigned_is_free(tmp_path, left):
    lease_path(tmp_path / "a").write_bytes(left)
    with Leases() as leases:
        assert leases.take(tmp_path / "a") is None


def test_a_lease_that_is_held_is_taken_once(tmp_path):
    with Leases() as leases:
        assert leases.take(tmp_path / "a") is None
        assert leases.take(tmp_path / "a") is None


def test_a_holder_has_written_what_is_younger_than_its_lease(tmp_path):
    target = tmp_path / "a"
    target.write_text("old")
    os.utime(target, (1, 1))
    with Leases() as first, Leases() as second:
        first.take(target)
        holder = second.take(target)
        assert not holder.has_written(target)
        assert not holder.has_written(tmp_path / "absent")
        target.write_text("new")
        assert holder.has_written(target)


@pytest.mark.parametrize("lives", [True, False])
def test_without_locks_a_holder_on_this_host_is_asked_for_by_its_number(
    tmp_path, monkeypatch, lives
):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    owner = {"host": os.uname().nodename, "pid": os.getppid() if lives else gone.pid}
    lease_path(tmp_path / "a").write_text(json.dumps(owner))
    with Leases() as leases:
        assert (leases.take(tmp_path / "a") is None) != lives


def test_leases_are_touched_while_they_are_held(tmp_path, monkeypatch):
    monkeypatch.setattr("ct_vae.batch.lease._TOUCHED_S", 0.01)
    with Leases() as leases:
        leases.take(tmp_path / "a")
        os.utime(lease_path(tmp_path / "a"), (0, 0))
        while lease_path(tmp_path / "a").stat().st_mtime == 0:
            time.sleep(0.01)


def test_a_lease_removed_in_the_moment_before_it_was_locked_is_written_again(tmp_path, monkeypatch):
    real, path = fcntl.flock, lease_path(tmp_path / "a")
    calls = []

    def flock(descriptor, how):
        calls.append(how)
        if len(calls) == 1:
            path.unlink()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with Leases() as leases:
        assert leases.take(tmp_path / "a") is None
        assert len(calls) == 2
        assert path.exists()


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with Leases() as leases, pytest.raises(OutputError, match="cannot write"):
        leases.take(tmp_path / "file" / "out" / "a")


def test_a_lease_is_running_while_its_process_holds_it(tmp_path):
    target = tmp_path / "a_latent.nii.gz"
    assert not is_running(lease_path(target))
    with Leases() as leases:
        assert leases.take(target) is None
        assert is_running(lease_path(target))
        assert is_running(lease_path(target))
    assert not is_running(lease_path(target))
    lease_path(target).write_text("")
    assert not is_running(lease_path(target))
