"""What a file is stored as, where its meta header says something else."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import UID

from ct_vae.io import read_volume
from ct_vae.io.dicom.transfer_syntax import (
    BIG_ENDIAN,
    DEFLATED,
    ENCAPSULATED,
    EXPLICIT,
    IMPLICIT,
    RLE,
    frame_syntax,
    native_syntax,
)
from tests.io._dicom_checks import quiet_refusal
from tests.io._series import compress, hounsfield, make_series, save, set_stored
from tests.io.dicom.codecs.test_compressed_frames import HTJ2K, JPEG_LS, by_itk

JPEG = "1.2.840.10008.1.2.4."
NOTE = "the transfer syntax in its meta header is wrong; that of its data was used"


def stored_as(dataset, syntax):
    """The bytes of a file in a native syntax."""
    if syntax == BIG_ENDIAN:
        set_stored(dataset, np.frombuffer(dataset.PixelData, "<i2").reshape(12, 10), order=">")
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def declaring(content, syntax):
    """The same bytes with another syntax in the meta header."""
    at = content.index(b"\x02\x00\x10\x00UI")
    size = struct.unpack("<H", content[at + 6 : at + 8])[0]
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    content = content[: at + 6] + struct.pack("<H", len(uid)) + uid + content[at + 8 + size :]
    length = struct.unpack("<I", content[140:144])[0] + len(uid) - size
    return content[:140] + struct.pack("<I", length) + content[144:]


@pytest.mark.parametrize("declared", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, f"{JPEG}90", RLE])
@pytest.mark.parametrize("real", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
def test_the_encoding_of_the_data_counts(tmp_path, real, declared):
    for k, dataset in enumerate(make_series()):
        (tmp_path / f"{k}.dcm").write_bytes(declaring(stored_as(dataset, real), declared))
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    assert volume.warnings == (() if real == declared else (NOTE,))
    assert volume.source["transfer_syntaxes"] == [UID(real).keyword]


def rle(dataset):
    return RLELosslessEncoder.encode(dataset, index=0)


@pytest.mark.parametrize("declared", [EXPLICIT, RLE, f"{JPEG}70", f"{JPEG}80", f"{JPEG}90"])
@pytest.mark.parametrize("real", ["RLE", "JPEG2000", "JPEG"])
def test_the_compression_of_the_frames_counts(tmp_path, real, declared):
    encode = rle if real == "RLE" else by_itk(real)
    for k, dataset in enumerate(make_series(5)):
        compress(dataset, "1.2.3", encode)
        dataset.file_meta.TransferSyntaxUID = RLE if real == "RLE" else encode.syntax
        path = save(dataset, tmp_path / f"{k}.dcm")
        path.write_bytes(declaring(path.read_bytes(), declared))
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, hounsfield(5))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (JPEG_LS, f"{JPEG}81"),
        (HTJ2K, f"{JPEG}90"),
        (b"\xff\x0a\x00", f"{JPEG}112"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", f"{JPEG}112"),
        (b"\xff\xd8\xff\xe0\0\4ab\xff\xc3\0\x0b", f"{JPEG}57"),
        (b"\xff\xd8\xff\xc0\0\x0b", f"{JPEG}50"),
        (struct.pack("<16I", 2, 64, 700, *[0] * 13), RLE),
        (struct.pack("<16I", 2, 64, 700, 9, *[0] * 12), "declared"),
        (b"", "declared"),
        (bytes(200), "declared"),
        (b"\xff\xd8\xff\xe0\0\0", "declared"),
    ],
)
def test_a_frame_is_known_by_its_signature(frame, expected):
    assert frame_syntax(frame, "declared") == expected


@pytest.mark.parametrize("declared", sorted(ENCAPSULATED))
def test_a_declared_syntax_of_the_same_family_is(declared):
    frames = {
        "90 91 201 202 203": HTJ2K,
        "80 81": JPEG_LS,
        "50 51 57 70": b"\xff\xd8\xff\xc3\0\x0b",
        "110 111 112": b"\xff\x0a\x00",
    }
    for family, frame in frames.items():
        if declared.removeprefix(JPEG) in family.split():
            assert frame_syntax(frame, declared) == declared


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"\x08\0\x05\0CS\x0a\0", EXPLICIT),
        (b"\x08\0\x05\0\x0a\0\0\0", IMPLICIT),
        (b"\0\x08\0\x05CS\0\x0a", BIG_ENDIAN),
        (b"\x08\0\x05\0TI\x1a\0", "declared"),
        (b"\x08\0", "declared"),
        (b"junk and more", "declared"),
    ],
)
def test_an_encoding_is_known_by_the_first_element(first, expected):
    assert native_syntax(first, "declared") == expected


def test_compressed_pixels_of_no_known_kind_are_refused(tmp_path):
    for k, dataset in enumerate(make_series(5)):
        compress(dataset, EXPLICIT, lambda _: b"no image at all")
        path = save_unchecked(dataset, tmp_path / f"{k}.dcm")
        assert path.exists()
    assert "which its transfer syntax" in quiet_refusal(tmp_path)


def save_unchecked(dataset, path):
    """Write compressed pixels under a meta header that names another syntax."""
    declared = dataset.file_meta.TransferSyntaxUID
    dataset.file_meta.TransferSyntaxUID = UID(RLE)
    save(dataset, path)
    path.write_bytes(declaring(path.read_bytes(), declared))
    return path


@pytest.mark.parametrize("syntax", ["110", "111", "112"])
@pytest.mark.parametrize("declared_as", ["itself", "JPEG 2000"])
def test_jpeg_xl_is_decoded_to_the_bit(tmp_path, syntax, declared_as):
    for k, dataset in enumerate(make_series(5)):
        dataset.PixelRepresentation = 0
        compress(dataset, RLE, jpeg_xl)
        path = save(dataset, tmp_path / f"{k}.dcm")
        uid = JPEG + (syntax if declared_as == "itself" else "90")
        path.write_bytes(declaring(path.read_bytes(), uid))
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hounsfield(5))
    assert volume.warnings == (() if declared_as == "itself" else (NOTE,))


def jpeg_xl(dataset):
    words = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
    return imagecodecs.jpegxl_encode(words, lossless=True)


def test_jpeg_xl_without_its_decoder_names_the_package(tmp_path, monkeypatch):
    for k, dataset in enumerate(make_series(5)):
        dataset.PixelRepresentation = 0
        compress(dataset, RLE, jpeg_xl)
        path = save(dataset, tmp_path / f"{k}.dcm")
        path.write_bytes(declaring(path.read_bytes(), f"{JPEG}110"))
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    assert "pip install imagecodecs" in quiet_refusal(tmp_path)


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
