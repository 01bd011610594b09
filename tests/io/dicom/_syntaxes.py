"""Files in declared and actual transfer syntaxes."""

import io
import struct

import numpy as np
from pydicom.uid import UID

from ct_vae.io.dicom.transfer_syntax import BIG_ENDIAN
from tests.io._series import set_stored


def declaring(content, syntax):
    """The same bytes with another syntax in the meta header."""
    at = content.index(b"\x02\x00\x10\x00UI")
    size = struct.unpack("<H", content[at + 6 : at + 8])[0]
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    content = content[: at + 6] + struct.pack("<H", len(uid)) + uid + content[at + 8 + size :]
    length = struct.unpack("<I", content[140:144])[0] + len(uid) - size
    return content[:140] + struct.pack("<I", length) + content[144:]


def stored_as(dataset, syntax):
    """The bytes of a file in a native syntax."""
    if syntax == BIG_ENDIAN:
        set_stored(dataset, np.frombuffer(dataset.PixelData, "<i2").reshape(12, 10), order=">")
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


JPEG = "1.2.840.10008.1.2.4."


NOTE = "the transfer syntax in its meta header is wrong; that of its data was used"
