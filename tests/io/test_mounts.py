from pathlib import Path

import pytest

from ct_vae.io import mounts
from ct_vae.io.mounts import Mount, find_mount, mount_of

MOUNTS = [
    "20 1 8:1 / / rw - ext4 /dev/a rw",
    "21 20 0:5 / /tmp rw - tmpfs tmpfs rw",
    "22 21 8:2 / /tmp/my\\040disk rw - xfs /dev/b rw",
    "23 20 0:6 / /over rw - ext4 /dev/c rw",
    "24 20 0:7 / /over rw - tmpfs tmpfs rw",
    "25 20 0:8 / /share rw,noatime shared:9 - nfs4 host:/a rw,vers=4.2,local_lock=none",
    "26 20 0:9 / /alone rw - nfs host:/b rw,vers=3,nolock,local_lock=all",
    "27 20 0:9 / /odd\\134\\011name rw - fuse.sshfs host:/c rw",
]


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/a", "ext4"),
        ("/tmp/x", "tmpfs"),
        ("/tmp/my disk/y", "xfs"),
        ("/tmpfile", "ext4"),
        ("/over/a", "tmpfs"),
        ("/share/a/b", "nfs4"),
        ("/odd\\\tname/a", "fuse.sshfs"),
    ],
)
def test_the_nearest_mount_above_tells_the_file_system(folder, kind):
    assert find_mount(Path(folder), MOUNTS).kind == kind


@pytest.mark.parametrize(
    ("folder", "shared"),
    [("/home", True), ("/tmp", True), ("/share", True), ("/alone", False), ("/odd\\\tname", False)],
)
def test_locks_are_everybodys_on_local_disks_and_on_shares_that_have_them(folder, shared):
    assert find_mount(Path(folder), MOUNTS).shares_locks == shared


def test_locks_are_nobodys_where_the_system_tells_nothing(tmp_path, monkeypatch):
    assert not Mount().shares_locks
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "absent")
    assert mount_of(tmp_path) == Mount()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory here")
def test_memory_is_recognized_where_this_machine_has_it():
    assert mount_of(Path("/dev/shm")).kind in {"tmpfs", "ramfs"}
