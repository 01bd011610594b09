import struct
import zlib

import pydicom
import pytest

from ct_vae.io.dicom.transfer_syntax import DEFLATED
from tests.io._dicom_checks import quiet_refusal
from tests.io._series import make_series
from tests.io.dicom._syntaxes import stored_as


def test_a_deflated_header_that_is_a_bomb_is_refused_at_once(tmp_path):
    """A few kilobytes that inflate to gigabytes of the smallest elements there are."""
    content = stored_as(make_series(1)[0], DEFLATED)
    start = 144 + struct.unpack("<I", content[140:144])[0]
    data = zlib.decompressobj(-15).decompress(content[start:])
    tiny = b"\x09\0\x10\x10UN\0\0" + struct.pack("<I", 0)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [packer.compress(data[: data.index(b"\x20\0\x0d\0UI")])]
    pieces += [packer.compress(tiny * 100_000) for _ in range(600)]
    path = tmp_path / "bomb.dcm"
    path.write_bytes(content[:start] + b"".join(pieces) + packer.flush())
    assert path.stat().st_size < 1 << 21
    parsed = 0
    real = pydicom.filereader.read_dataset

    def counted(stream, *args, **kwargs):
        nonlocal parsed
        parsed += len(stream.getvalue())
        return real(stream, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pydicom.filereader, "read_dataset", counted)
        assert "has a header of more than" in quiet_refusal(tmp_path)
    assert parsed <= path.stat().st_size + (2 << 20)
