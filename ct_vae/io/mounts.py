"""File systems that files lie on, as far as the system tells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Spaces, tabs, newlines and backslashes are written so.
_OCTAL = re.compile(r"\\([0-7]{3})")
_MOUNTS = Path("/proc/self/mountinfo")
# Seen by one kernel alone, so that its locks are everybody's.
_LOCAL = {
    *("bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay"),
    *("ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs"),
}
# Shared between hosts, with locks that are shared as well unless an option says otherwise.
_SHARED = {
    "nfs": {"nolock", "local_lock=all", "local_lock=flock"},
    "nfs4": {"nolock", "local_lock=all", "local_lock=flock"},
    "cifs": {"nobrl"},
    "smb3": {"nobrl"},
    "lustre": {"localflock", "noflock"},
    "ceph": {"nofs"},
    "gpfs": set(),
}


@dataclass(frozen=True)
class Mount:
    """A file system in use.

    Attributes:
        kind: Such as ``ext4`` or ``nfs4``; empty where the system does not tell.
        options: With which it is mounted.
    """

    kind: str = ""
    options: frozenset[str] = frozenset()

    @property
    def shares_locks(self) -> bool:
        """Whether a lock held by any process on any host is seen by this one."""
        if self.kind in _LOCAL:
            return True
        return self.kind in _SHARED and not self.options & _SHARED[self.kind]


def mount_of(folder: Path) -> Mount:
    """The file system that an existing folder is on."""
    if not _MOUNTS.exists():
        return Mount()
    return find_mount(folder.resolve(), _MOUNTS.read_text().splitlines())


def find_mount(folder: Path, lines: Iterable[str]) -> Mount:
    """The mount point that is nearest above; of two in one place, the later one is seen.

    Args:
        folder: Without links in its path.
        lines: Of ``/proc/self/mountinfo``.
    """
    found, depth = Mount(), 0
    for line in lines:
        fields, _, rest = line.partition(" - ")
        place = Path(_OCTAL.sub(lambda code: chr(int(code[1], 8)), fields.split()[4]))
        if folder.is_relative_to(place) and len(place.parts) >= depth:
            kind, *others = rest.split()
            options = f"{fields.split()[5]},{others[-1] if others else ''}"
            found, depth = Mount(kind, frozenset(options.split(","))), len(place.parts)
    return found
