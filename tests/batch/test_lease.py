import errno
import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from ct_vae.batch.lease import Leases, lease_path
from ct_vae.errors import OutputError
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
        assert leases.take(target) == f"process {process.pid} on {os.uname().nodename}"
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


@pytest.mark.parametrize(("age_s", "held"), [(60, True), (3600, False)])
def test_a_holder_on_another_host_lives_while_it_touches_its_lease(tmp_path, age_s, held):
    path = lease_path(tmp_path / "a")
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    then = time.time() - age_s
    os.utime(path, (then, then))
    with Leases() as leases:
        assert leases.take(tmp_path / "a") == ("process 1 on elsewhere" if held else None)


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


def test_a_lease_removed_in_the_moment_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
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


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with Leases() as leases, pytest.raises(OutputError, match="cannot write"):
        leases.take(tmp_path / "file" / "out" / "a")
