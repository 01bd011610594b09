import base64
import contextlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions, read_volume
from ct_vae.io.dicom.codecs.compressed_frames import decode_frame
from ct_vae.io.dicom.codecs.gdcm_pool import Gdcm
from ct_vae.io.dicom.pixel_format import PixelFormat
from tests.io._dicom_checks import changed, plane, quiet_refusal
from tests.io._series import (
    SIDES,
    compress,
    describe_pixels,
    hounsfield,
    make_series,
    set_stored,
    write_series,
)
from tests.io.dicom.codecs._frames import JPEG_LS

FORCE = ReadOptions(force=True)


def by_itk(name):
    """An encoder: what GDCM makes of a slice."""

    def encode(dataset):
        import tempfile

        import pydicom
        from pydicom.encaps import generate_frames

        order = f"{'i' if dataset.PixelRepresentation else 'u'}2"
        stored = np.frombuffer(dataset.PixelData, order).reshape(dataset.Rows, dataset.Columns)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "a.dcm")
            writer = SimpleITK.ImageFileWriter()
            writer.SetImageIO("GDCMImageIO")
            writer.SetFileName(path)
            writer.UseCompressionOn()
            writer.SetCompressor(name)
            writer.Execute(SimpleITK.GetImageFromArray(stored))
            found = pydicom.dcmread(path)
            encode.syntax = found.file_meta.TransferSyntaxUID
            return next(generate_frames(found.PixelData, number_of_frames=1))

    return encode


@pytest.mark.parametrize("name", ["JPEG2000", "JPEG"])
@pytest.mark.parametrize("signed", [True, False])
def test_jpeg_families_are_decoded_to_the_bit(tmp_path, name, signed):
    encode = by_itk(name)

    def change(k, dataset):
        describe_pixels(dataset, SIDES, 16, 16, signed)
        dataset.RescaleIntercept = 0 if signed else -1024
        set_stored(dataset, plane(k) - dataset.RescaleIntercept)

    slices = changed(change)
    for dataset in slices:
        compress(dataset, "1.2.3", encode)
        dataset.file_meta.TransferSyntaxUID = encode.syntax
    write_series(tmp_path, slices)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    assert volume.source["transfer_syntaxes"] == [encode.syntax.keyword]


HTJ2K = base64.b64decode(
    "/0//UQApQAAAAAAKAAAADAAAAAAAAAAAAAAACgAAAAwAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUE"
    "BEAB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAHAAAf+TwAAm"
    "h/kFB3QAAMAAE0AAEwBc/gIHdAAU/gKHdADAABHAABMAK3MAcfwAAjQAwAASQAAVQCjidACYMWP+wDGB/rYAwAAr"
    "IAAVoEgEQSLI2C/X4It3ALQ0Go329AhGIQHsuAD/2Q=="
)


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [("80", JPEG_LS), ("81", JPEG_LS), ("201", HTJ2K), ("202", HTJ2K), ("203", HTJ2K)],
)
def test_jpeg_ls_and_high_throughput_jpeg_2000_are_decoded(tmp_path, syntax, frame):
    y, x = np.indices(SIDES)
    expected = (x * 37 + y * 91) % 1500 + 300

    def change(k, dataset):
        describe_pixels(dataset, SIDES, 16, 16, False)
        dataset.RescaleIntercept = -1324
        compress(dataset, f"1.2.840.10008.1.2.4.{syntax}", lambda _: frame)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path, FORCE)
    for k in range(8):
        np.testing.assert_array_equal(volume.voxels[:, :, k].T, expected - 1324)


def test_a_decoder_that_fails_names_the_packages(tmp_path):
    # The packets are gone, all headers are there.
    broken = HTJ2K[: HTJ2K.index(b"\xff\x93") + 2] + b"\xff\xff" * 30 + b"\xff\xd9"
    slices = changed(
        lambda k, d: compress(
            d, "1.2.840.10008.1.2.4.201", lambda _: broken.replace(b"\xff\x90", b"\xff\x30")
        )
    )
    write_series(tmp_path, slices)
    assert "pip install pylibjpeg pylibjpeg-openjpeg" in quiet_refusal(tmp_path)


def test_an_unknown_syntax_is_refused_by_its_number(tmp_path):
    slices = changed(lambda k, d: compress(d, "1.2.840.10008.1.2.4.100", lambda _: b"video"))
    write_series(tmp_path, slices)
    assert "transfer syntax 1.2.840.10008.1.2.4.100" in quiet_refusal(tmp_path)


@pytest.mark.parametrize("name", ["JPEG2000", "JPEG"])
def test_the_size_inside_a_compressed_image_must_be_the_declared_one(tmp_path, name, capfd):
    encode = by_itk(name)
    slices = make_series()
    for dataset in slices:
        compress(dataset, "1.2.3", encode)
        dataset.file_meta.TransferSyntaxUID = encode.syntax
        dataset.Rows, dataset.Columns = 60000, 30000
    write_series(tmp_path, slices)
    assert "2^31" in quiet_refusal(tmp_path)
    for dataset in slices:
        dataset.Rows, dataset.Columns = 3000, 3000
    write_series(tmp_path, slices)
    text = quiet_refusal(tmp_path)
    assert "has 12 rows, 10 columns and 1 numbers per pixel; its header declares 3000, 3000" in text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["JPEG2000", "JPEG", "RLE"])
def test_a_cut_compressed_slice_is_named(tmp_path, name, capfd):
    from pydicom.pixels.encoders import RLELosslessEncoder

    encode = by_itk(name) if name != "RLE" else lambda d: RLELosslessEncoder.encode(d, index=0)
    slices = make_series()
    for dataset in slices:
        compress(dataset, "1.2.840.10008.1.2.5", encode)
        if name != "RLE":
            dataset.file_meta.TransferSyntaxUID = encode.syntax
    write_series(tmp_path, slices, str)
    path = tmp_path / "5"
    content = path.read_bytes()
    for end in (1, 8, 9, 60):
        path.write_bytes(content[:-end])
        text = quiet_refusal(tmp_path)
        assert "slice 6 of 8, at 112.500 mm" in text
        assert "cut short" in text
    assert capfd.readouterr() == ("", "")


@given(st.binary(max_size=200))
def test_any_bytes_as_a_frame_raise_nothing_else(data):
    pixels = PixelFormat(12, 10, 16, 16, False, None, False, False, "")
    with Gdcm() as gdcm:
        for syntax in ("5", "4.70", "4.80", "4.90", "4.201"):
            with contextlib.suppress(CtVaeError):
                decode_frame(data, f"1.2.840.10008.1.2.{syntax}", pixels, gdcm)


def test_lossy_compression_is_reported(tmp_path):
    write_series(tmp_path, changed(lambda k, d: setattr(d, "LossyImageCompression", "01")))
    assert "lossy compression" in read_volume(tmp_path).warnings[0]
