"""Mounted file systems and whether their locks are shared between hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Escapes of spaces, tabs, newlines and backslashes.
_OCTAL = re.compile(r"\\([0-7]{3})")
_MOUNTS = Path("/proc/self/mountinfo")
# File systems of a single host, whose locks all processes see.
_LOCAL = {
    *("bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay"),
    *("ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs"),
}
# File systems with locks shared between hosts, unless one of these options is set.
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
    """A mounted file system.

    Attributes:
        kind: Type, such as ``ext4`` or ``nfs4``; empty if unknown.
        options: Mount options.
    """

    kind: str = ""
    options: frozenset[str] = frozenset()

    @property
    def shares_locks(self) -> bool:
        """True if locks of all processes on all hosts are visible here."""
        if self.kind in _LOCAL:
            return True
        return self.kind in _SHARED and not self.options & _SHARED[self.kind]


def mount_of(folder: Path) -> Mount:
    """Return the file system of an existing folder."""
    if not _MOUNTS.exists():
        return Mount()
    return find_mount(folder.resolve(), _MOUNTS.read_text().splitlines())


def find_mount(folder: Path, lines: Iterable[str]) -> Mount:
    """Return the mount with the deepest mount point above a folder, the latest of equals.

    Args:
        folder: Path without links.
        lines: Lines of ``/proc/self/mountinfo``.
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
