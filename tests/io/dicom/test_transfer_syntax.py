"""What a file is stored as, where its meta header says something else."""

import struct

import numpy as np
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
from tests.io._series import compress, hounsfield, make_series, save
from tests.io.dicom._syntaxes import JPEG, NOTE, declaring, stored_as
from tests.io.dicom.codecs.test_compressed_frames import HTJ2K, JPEG_LS, by_itk


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
