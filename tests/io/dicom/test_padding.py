import numpy as np
import pytest

from ct_vae.io import ReadOptions, read_volume
from ct_vae.volume import AIR_HU
from tests.io._dicom_checks import changed, plane
from tests.io._series import (
    SIDES,
    assert_nothing_identifying,
    describe_pixels,
    hounsfield,
    set_stored,
    told_by,
    write_series,
)

FORCE = ReadOptions(force=True)


@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize("signed", [True, False])
def test_padding_becomes_air_whatever_the_sign_of_its_tag(tmp_path, vr, signed):
    """Padding of -2000 in a signed image may be declared as 63536, and the other way round."""
    inside = (np.indices((10, 12)).sum(0) > 3)[:, :, None] & np.ones(8, bool)

    def change(k, dataset):
        describe_pixels(dataset, SIDES, 16, 16, signed)
        word = -2000 if signed else 63536
        set_stored(dataset, np.where(inside[:, :, k].T, plane(k) + 1024, word))
        dataset.add_new("PixelPaddingValue", vr, 63536 if vr == "US" else -2000)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.outside_fov, ~inside)
    np.testing.assert_array_equal(volume.voxels, np.where(inside, hounsfield(), AIR_HU))
    assert volume.voxels.dtype == np.int16
    assert_nothing_identifying(told_by(volume))


def test_padding_beyond_the_stored_bits_is_padding(tmp_path):
    inside = (np.indices((10, 12)).sum(0) > 3)[:, :, None] & np.ones(8, bool)

    def change(k, dataset):
        describe_pixels(dataset, SIDES, 16, 12, False)
        set_stored(dataset, np.where(inside[:, :, k].T, plane(k) + 1024, 63536))
        dataset.add_new("PixelPaddingValue", "US", 63536)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.outside_fov, ~inside)
    np.testing.assert_array_equal(volume.voxels[inside], hounsfield()[inside])


def test_a_range_of_padding_is_padding(tmp_path):
    def change(k, dataset):
        stored = plane(k) + 1024
        stored[0, :3] = [-100, -150, -300]
        set_stored(dataset, stored)
        dataset.add_new("PixelPaddingValue", "SS", -100)
        dataset.add_new("PixelPaddingRangeLimit", "SS", -300)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    assert volume.outside_fov.sum() == 24
    assert volume.outside_fov[:3, 0].all()
    assert (volume.voxels[:3, 0] == AIR_HU).all()


def test_the_limit_of_a_range_alone_has_no_meaning(tmp_path):
    def change(k, dataset):
        dataset.add_new("PixelPaddingRangeLimit", "SS", int(plane(k)[0, 0]) + 1024)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    assert volume.outside_fov is None
    np.testing.assert_array_equal(volume.voxels, hounsfield())


@pytest.mark.parametrize("offset", [-1024, 1024, 3000])
def test_padding_stays_padding_under_an_offset(tmp_path, offset):
    def change(k, dataset):
        dataset.RescaleIntercept = -1024 - offset
        stored = plane(k) + 1024
        stored[0, :3] = 9999
        set_stored(dataset, stored)
        dataset.add_new("PixelPaddingValue", "SS", 9999)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path, ReadOptions(hu_offset=offset))
    assert volume.outside_fov.sum() == 24
    np.testing.assert_array_equal(volume.voxels[3:], hounsfield()[3:])


def test_undeclared_padding_is_known_by_its_value(tmp_path):
    def change(k, dataset):
        stored = plane(k) + 1024
        stored[0, :5] = -2000
        set_stored(dataset, stored)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    assert volume.outside_fov.sum() == 40
    assert (volume.voxels[:5, 0] == AIR_HU).all()


def test_padding_that_is_air_is_believed_wherever_it_is(tmp_path):
    """It may be in the middle of a slice, and above what is padding by its value alone."""

    def change(k, dataset):
        stored = plane(k) + 1024
        stored[stored == 24] = 25
        stored[5, 4:7] = 24
        set_stored(dataset, stored)
        dataset.add_new("PixelPaddingValue", "SS", 24)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    assert volume.outside_fov[4:7, 5].all()
    assert volume.outside_fov.sum() == 24


def test_water_is_not_taken_for_padding(tmp_path):
    """Some writers declare 0 as padding, which is water: only what reaches the edge is padding."""

    def change(k, dataset):
        stored = plane(k)
        stored[stored == 0] = 1
        stored[0, :4], stored[6, 5], stored[8:10, 0], stored[8, 9] = 0, 0, 0, 0
        dataset.RescaleIntercept = 0
        set_stored(dataset, stored)
        dataset.add_new("PixelPaddingValue", "SS", 0)

    write_series(tmp_path, changed(change))
    volume = read_volume(tmp_path)
    assert volume.outside_fov[:4, 0].all()
    assert volume.outside_fov[0, 8:10].all()
    assert volume.outside_fov[9, 8].all()
    assert volume.outside_fov.sum() == 8 * 7
    assert (volume.voxels[5, 6] == 0).all()
