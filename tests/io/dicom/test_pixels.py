import zlib

import numpy as np
import pydicom
import pytest

from ct_vae.io import ReadOptions, read_volume
from ct_vae.io.dicom.transfer_syntax import BIG_ENDIAN, DEFLATED, IMPLICIT
from tests.io._dicom_checks import changed, plane, quiet_refusal
from tests.io._series import (
    SIDES,
    describe_pixels,
    hounsfield,
    save,
    set_stored,
    write_series,
)

FORCE = ReadOptions(force=True)


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_every_native_syntax_gives_the_same(tmp_path, syntax):
    def change(k, dataset):
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == BIG_ENDIAN:
            set_stored(dataset, plane(k) + 1024, ">")

    write_series(tmp_path, changed(change))
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, hounsfield())


@pytest.mark.parametrize("allocated", [16, 32])
@pytest.mark.parametrize("stored", [12, 13, 16])
def test_signs_and_widths_may_be_mixed(tmp_path, allocated, stored):
    def change(k, dataset):
        signed = k % 2 == 1
        inter = 0 if signed else -1024
        describe_pixels(dataset, SIDES, allocated, stored, signed)
        dataset.RescaleIntercept = inter
        low, high = (
            (-(1 << stored - 1), (1 << stored - 1) - 1) if signed else (0, (1 << stored) - 1)
        )
        set_stored(dataset, np.clip(plane(k) - inter, low, high))

    write_series(tmp_path, changed(change))
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, np.clip(hounsfield(), None, 2047))


def test_negative_numbers_of_twelve_bits_need_no_extension(tmp_path):
    def change(k, dataset):
        describe_pixels(dataset, SIDES, 16, 12, True)
        dataset.RescaleIntercept = 0
        set_stored(dataset, plane(k) & 0x0FFF)

    write_series(tmp_path, changed(change))
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, hounsfield())


def test_overlays_in_high_bits_are_masked_if_declared(tmp_path):
    def change(k, dataset):
        describe_pixels(dataset, SIDES, 16, 12, False)
        bits = (plane(k) + 1024) | 0x1000 * (np.indices(SIDES).sum(0) % 2)
        set_stored(dataset, bits)

    slices = changed(change)
    write_series(tmp_path, slices)
    text = quiet_refusal(tmp_path)
    assert "use more than the declared 12 bits" in text
    assert "slice 1 of 8, at 100.000 mm" in text
    for dataset in slices:
        dataset.add_new(0x60000102, "US", 12)
    write_series(tmp_path, slices)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, hounsfield())


def test_every_slice_has_its_own_rescale(tmp_path):
    def change(k, dataset):
        dataset.RescaleIntercept = -1024 - 10 * k
        set_stored(dataset, plane(k) + 1024 + 10 * k)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    assert volume.voxels.dtype == np.int16


def test_fractions_are_kept_as_float32(tmp_path):
    slopes = [0.5, 0.37, 1.25, 1, 2, 0.1, 3, 1.7]

    def change(k, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = slopes[k], -1024.25
        set_stored(dataset, np.rint((plane(k) + 1024) / slopes[k]))

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    assert volume.voxels.dtype == np.float32
    for k, slope in enumerate(slopes):
        stored = np.rint((plane(k) + 1024) / slope)
        expected = (stored * np.float64(str(slope)) - 1024.25).astype(np.float32)
        np.testing.assert_array_equal(volume.voxels[:, :, k].T, expected)


def test_fractions_that_give_whole_numbers_are_int16(tmp_path):
    def change(k, dataset):
        dataset.RescaleSlope = 0.5
        set_stored(dataset, 2 * (plane(k) + 1024))

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels, hounsfield())


def test_values_beyond_int16_are_float32(tmp_path):
    def change(k, dataset):
        describe_pixels(dataset, SIDES, 16, 16, False)
        stored = plane(k) + 1024
        stored[0, 0] = 60000
        set_stored(dataset, stored)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    assert volume.voxels.dtype == np.float32
    assert volume.voxels[0, 0, 3] == 58976
    np.testing.assert_array_equal(volume.voxels[1:], hounsfield()[1:])


def test_a_deflate_bomb_is_inflated_no_further_than_declared(tmp_path):
    import tracemalloc

    slices = changed(lambda k, d: setattr(d.file_meta, "TransferSyntaxUID", DEFLATED))
    slices[3].PixelData = bytes(1 << 26)
    write_series(tmp_path, slices)
    tracemalloc.start()
    text = quiet_refusal(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "declares 67108864 bytes" in text
    assert peak < 3 << 24
    assert save(slices[0], tmp_path / "again").exists()


def test_a_deflated_slice_that_holds_too_little_is_named(tmp_path):
    """The stream itself is whole, so that nothing but the count of its bytes tells."""
    slices = changed(lambda k, d: setattr(d.file_meta, "TransferSyntaxUID", DEFLATED))
    write_series(tmp_path, slices, str)
    path = tmp_path / "5"
    content = path.read_bytes()
    # Preamble, its mark, and the meta header, whose length stands in its first element.
    start = 144 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    inner = zlib.decompress(content[start:], -zlib.MAX_WBITS)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes(content[:start] + packer.compress(inner[:-50]) + packer.flush())
    text = quiet_refusal(tmp_path)
    assert "slice 6 of 8, at 112.500 mm" in text
    assert "is truncated: it has 190 of 240 bytes" in text
