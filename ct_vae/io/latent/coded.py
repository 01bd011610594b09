"""Container of coded latents: a record, range-coded integers and a checksum.

``magic (7 bytes) | version (1) | n (uint32) | record (n bytes) | integers | SHA-256 (32)``, with
little-endian numbers. The checksum covers everything before it. The record is the short one that
NIfTI files have in their header, as JSON compressed with zlib.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from ct_vae.errors import InputError
from ct_vae.io.latent.entropy.coder import decode_integers, encode_integers
from ct_vae.io.latent.entropy.lattice import Integers
from ct_vae.io.latent.record import (
    LARGEST_RECORD,
    parse_record,
    short_record_bytes,
)
from ct_vae.io.reading import check_regular
from ct_vae.latent import CODED_MAGIC, LatentRecord

_VERSION = b"\x01"
_HEAD = CODED_MAGIC + _VERSION
_SIZE_BYTES = 4
_DIGEST_BYTES = 32
_AGAIN = "copy it again, or encode the source again"


@dataclass(frozen=True)
class CodedFile:
    """Content of a coded latent.

    Attributes:
        record: Short record.
        values: Range-coded integers.
    """

    record: LatentRecord
    values: bytes

    def integers(self) -> Integers:
        """Decode the integers ``(C, X, Y, Z)``.

        Raises:
            InputError: If they are damaged.
        """
        how = self.record.quantisation
        if how is None or how.dtype != "coded" or how.steps is None:
            raise InputError("is not stored as its record says", _AGAIN)
        return decode_integers(self.values, (len(how.steps), *self.record.latent_grid().shape))


def is_coded(path: str | Path) -> bool:
    """Return true if a file is a coded latent, by its first bytes.

    Raises:
        OSError: If it cannot be read.
    """
    with Path(path).open("rb") as file:
        return file.read(len(CODED_MAGIC)) == CODED_MAGIC


def coded_bytes(record: LatentRecord, integers: Integers) -> bytes:
    """Return the content of a file.

    Raises:
        InputError: If integers exceed what the coder takes.
    """
    text = zlib.compress(short_record_bytes(record), 9)
    size = len(text).to_bytes(_SIZE_BYTES, "little")
    content = b"".join([_HEAD, size, text, encode_integers(integers)])
    return content + hashlib.sha256(content).digest()


def load_coded(path: Path) -> CodedFile:
    """Read a file and check its checksum and record; the integers are not decoded.

    Raises:
        InputError: If it is damaged or of a newer version. The file's name is not in it.
        OSError: If it cannot be read.
    """
    check_regular(path)
    content = path.read_bytes()
    if not content.startswith(_HEAD):
        known = content.startswith(CODED_MAGIC)
        hint = "install a newer ct_vae" if known else _AGAIN
        raise InputError("is not a coded latent of a version that is known", hint)
    digest = hashlib.sha256(memoryview(content)[:-_DIGEST_BYTES]).digest()
    start = len(_HEAD) + _SIZE_BYTES
    end = start + int.from_bytes(content[len(_HEAD) : start], "little")
    if digest != content[-_DIGEST_BYTES:] or end + _DIGEST_BYTES > len(content):
        raise InputError("is damaged or cut off: its checksum does not fit", _AGAIN)
    record = parse_record(_inflated(content[start:end]))
    return CodedFile(record, content[end:-_DIGEST_BYTES])


def _inflated(text: bytes) -> bytes:
    try:
        # One byte more than a record may have, so that a larger one is refused as such.
        return zlib.decompressobj().decompress(text, LARGEST_RECORD + 1)
    except zlib.error as error:
        raise InputError("holds a record that is damaged", _AGAIN) from error
