"""Extraction of zip and tar archives into a temporary folder.

Members are written under numbers, since their own names could point outside the folder. Sizes are
counted while members are written; declared sizes are not trusted.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Self, cast

from ct_vae.errors import CtVaeError, InputError, OutputError
from ct_vae.io.temporary import make_temporary_folder

MAX_MEMBERS = 100_000
MAX_BYTES = 1 << 34
# CT compresses about 3:1 and blank slices about 1000:1, but not a whole archive.
MAX_RATIO = 200
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")

_ZIP = (b"PK\3\4", b"PK\5\6")
_FREE_OF_RATIO = 1 << 26
_CHUNK_BYTES = 1 << 20
# Compressed archives up to this size are read once more, only to count their members.
_COUNTED_BYTES = 1 << 26
_TAR_BLOCK = 512
_TAR_CHECKSUM = slice(148, 156)
_HIDDEN = {"__MACOSX"}
_AGAIN = "copy or download it again"
_LINK = "has a member that is a link or a device"
_UNSAFE = "unpack it yourself if you trust it, and give the folder"


def is_archive(path: Path) -> bool:
    """Return True if the content of a file is a zip archive or a (compressed) tar archive.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        return holds_archive(file)


def holds_archive(file: IO[bytes]) -> bool:
    """Return True if an open file is a zip or tar archive; reads from the start of the file.

    Raises:
        OSError: If it cannot be read.
    """
    file.seek(0)
    head = file.read(_TAR_BLOCK)
    if head.startswith(_ZIP):
        return True
    file.seek(0)
    opened = _decompressed(file, head)
    if opened is None:
        return _is_tar(head)
    try:
        with opened as layer:
            return _is_tar(layer.read(_TAR_BLOCK))
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return False


@contextmanager
def extracted(path: Path) -> Iterator[Path]:
    """Extract an archive into a temporary folder, which is removed when the block ends.

    Raises:
        InputError: If the archive is damaged, encrypted or too large, or if it has links, devices
            or members with paths outside the folder.
        OutputError: If the temporary folder is too small.
    """
    with make_temporary_folder() as name:
        folder = Path(name)
        unpacking = _Unpacking(folder, path.stat().st_size)
        with path.open("rb") as file:
            zipped = file.read(4).startswith(_ZIP)
        damaged = InputError(f"is a damaged {'zip' if zipped else 'tar'} archive", _AGAIN)
        try:
            (_unzip if zipped else _untar)(path, unpacking)
        # Archive libraries raise arbitrary exceptions for damaged archives.
        except Exception as error:
            # gzip and bzip2 report damage without errno, zipfile seeks to invalid offsets.
            known = isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}
            if known or isinstance(error, CtVaeError):
                raise
            raise damaged from error
        yield folder


@dataclass
class _Unpacking:
    """Target folder of the members, and the number and size of those written so far."""

    folder: Path
    size: int
    members: int = 0
    written: int = 0
    folders: dict[str, Path] = field(default_factory=dict)

    def check_size(self, count: int) -> None:
        """Raise an error for more bytes than an archive of this size may unpack to."""
        limit = min(MAX_BYTES, max(_FREE_OF_RATIO, MAX_RATIO * self.size))
        if count > limit:
            raise InputError(f"unpacks to more than {limit} bytes from {self.size}", _UNSAFE)

    def count(self, more: int = 1) -> None:
        self.members += more
        if self.members > MAX_MEMBERS:
            raise InputError(f"has more than {MAX_MEMBERS} members", _UNSAFE)

    def write(self, name: str, source: IO[bytes]) -> None:
        target = self._target(name)
        if target is None:
            return
        with target.open("xb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                self.written += len(chunk)
                self.check_size(self.written)
                with _space():
                    file.write(chunk)

    def _target(self, name: str) -> Path | None:
        """Return a numbered file name, in a numbered folder for each folder of the archive."""
        parts = _safe_parts(name)
        if any(part.startswith(".") or part in _HIDDEN for part in parts):
            return None
        parent = "/".join(parts[:-1])
        if parent not in self.folders:
            self.folders[parent] = self.folder / f"{len(self.folders):06d}"
            with _space():
                self.folders[parent].mkdir()
        ending = re.search(r"\.[A-Za-z0-9]{1,5}$", parts[-1])
        return self.folders[parent] / f"{self.members:06d}{ending[0] if ending else ''}"


def _unzip(path: Path, unpacking: _Unpacking) -> None:
    with zipfile.ZipFile(path) as archive:
        unpacking.count(len(archive.infolist()))
        for number, member in enumerate(archive.infolist(), start=1):
            unpacking.members = number
            _safe_parts(member.filename)
            mode = member.external_attr >> 16
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise InputError(_LINK, _UNSAFE)
            if member.flag_bits & 1:
                raise InputError("is encrypted", "unpack it and give the folder")
            if not member.is_dir():
                with archive.open(member) as source:
                    unpacking.write(member.filename, source)


def _untar(path: Path, unpacking: _Unpacking) -> None:
    _refuse_too_many(path, unpacking)
    with path.open("rb") as raw:
        head = raw.read(_TAR_BLOCK)
        raw.seek(0)
        layer = _decompressed(raw, head)
        # A stream is read in order, without seeking to offsets that the archive declares.
        source = raw if layer is None else layer
        with (
            contextlib.closing(source),
            tarfile.open(
                fileobj=cast("BinaryIO", _Counted(source, unpacking)), mode="r|", tarinfo=_Member
            ) as archive,
        ):
            for member in archive:
                unpacking.count()
                _safe_parts(member.name)
                if not (member.isreg() or member.isdir()):
                    raise InputError(_LINK, _UNSAFE)
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    unpacking.write(member.name, file)
            _check_end(archive)


def _refuse_too_many(path: Path, unpacking: _Unpacking) -> None:
    """Count the members of a tar archive before any is written, unless that takes long."""
    with path.open("rb") as raw:
        layer = _decompressed(raw, raw.read(_TAR_BLOCK))
        raw.seek(0)
        if layer is not None and unpacking.size > _COUNTED_BYTES:
            return
        counter = _Unpacking(unpacking.folder, unpacking.size)
        source = raw if layer is None else cast("BinaryIO", _Counted(layer, counter))
        try:
            with tarfile.open(fileobj=source, mode="r:" if layer is None else "r|") as archive:
                for _ in archive:
                    counter.count()
        # Damage is reported when the archive is unpacked.
        except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError):
            return


def _check_end(archive: tarfile.TarFile) -> None:
    """Check that only zeros follow the end of an archive, and the checksum of its compression."""
    rest = cast("IO[bytes]", archive.fileobj)
    while chunk := rest.read(_CHUNK_BYTES):
        if chunk.strip(b"\0"):
            raise InputError("has data after its end, such as a second archive", _UNSAFE)


class _Member(tarfile.TarInfo):
    """Tar header that raises if it is damaged; tarfile would take it for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            # Every archive ends with blocks of zeros.
            if len(buf) == _TAR_BLOCK and not any(buf):
                raise
            raise InputError("is a truncated or damaged tar archive", _AGAIN) from error


class _Counted:
    """Stream that limits the bytes read, including metadata and skipped members."""

    def __init__(self, source: IO[bytes], unpacking: _Unpacking) -> None:
        self._source = source
        self._check_size = unpacking.check_size
        self._read = 0

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self._read += len(data)
        self._check_size(self._read)
        return data


def _safe_parts(name: str) -> tuple[str, ...]:
    """Split the name of a member into its parts.

    Raises:
        InputError: If the name points outside the folder on any operating system.
    """
    parts = PurePosixPath(name).parts
    odd = name.startswith("/") or "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name)
    if odd or ".." in parts:
        raise InputError("has a member whose name leads out of its folder", _UNSAFE)
    if not parts and name.strip("./"):
        raise InputError("has a member without a name", _UNSAFE)
    return parts


def _decompressed(file: IO[bytes], head: bytes) -> IO[bytes] | None:
    if head.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if head.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(file)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return None


def _is_tar(block: bytes) -> bool:
    """Return True if a block is the header of a tar member with a valid checksum."""
    # An empty checksum would match every block whose signed bytes add up to zero.
    if len(block) < _TAR_BLOCK or not block[_TAR_CHECKSUM].strip(b" \0"):
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


@contextmanager
def _space() -> Iterator[None]:
    """Report errors of writing as a lack of space in the temporary folder."""
    try:
        yield
    except OSError as error:
        free = shutil.disk_usage(tempfile.gettempdir()).free
        raise OutputError(
            f"the temporary folder cannot hold the unpacked archive: {error.strerror} "
            f"({free} bytes free)",
            "set TMPDIR to a folder with more space",
        ) from error
