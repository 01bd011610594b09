import os
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ct_vae.datasets.cache.brick_file import BrickFile, write_bricks
from ct_vae.datasets.cache.brick_layout import BrickLayout
from ct_vae.datasets.cache.stored_volume import StoredVolume, as_int16, count_body
from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.volume import BODY_ABOVE_HU, Volume


def stored(voxels):
    return StoredVolume.of(Volume(voxels, Grid(voxels.shape, np.diag([0.5, 2.0, 3.0, 1.0]))))


@given(st.tuples(*[st.integers(1, 6)] * 3), st.integers(0, 1000))
def test_body_voxels_are_those_above_the_threshold_in_their_order(shape, seed):
    voxels = np.random.default_rng(seed).integers(-502, -497, shape).astype(np.int16)
    volume = stored(voxels)
    expected = np.argwhere(voxels > BODY_ABOVE_HU)
    assert volume.body_count == len(expected)
    found = [volume.body_voxel(rank).tolist() for rank in range(len(expected))]
    assert found == expected.tolist()


def test_a_volume_in_memory_keeps_its_voxels_and_spacing():
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    volume = stored(voxels[::-1])
    np.testing.assert_array_equal(volume.voxels, voxels[::-1])
    assert volume.voxels.flags.c_contiguous
    assert volume.spacing_mm == (0.5, 2.0, 3.0)
    assert volume.shape == (2, 3, 4)


def test_fractions_are_rounded_and_what_int16_cannot_hold_is_clipped():
    voxels = np.array([-1e6, -0.6, 0.5, 1.5, 1e6], np.float32)
    assert as_int16(voxels).tolist() == [-32768, -1, 0, 2, 32767]
    assert as_int16(voxels).dtype == np.int16


def in_file(voxels, folder):
    path = folder / "v.bricks"
    write_bricks(path, voxels)
    file = BrickFile(path, BrickLayout(voxels.shape))
    return StoredVolume(voxels.shape, (1.0, 1.0, 1.0), count_body(voxels), file)


def test_a_volume_in_a_file_holds_no_array_when_it_travels(tmp_path):
    voxels = np.random.default_rng(0).integers(-1000, 1000, (40, 50, 60)).astype("<i2")
    volume = in_file(voxels, tmp_path)
    volume.body_voxel(0)
    message = pickle.dumps(volume)
    assert len(message) < 2000
    np.testing.assert_array_equal(pickle.loads(message).voxels, voxels)


@given(st.tuples(st.integers(1, 5), *[st.integers(1, 140)] * 2), st.integers(0, 1000), st.data())
def test_body_voxels_of_a_file_are_those_of_the_memory(tmp_path_factory, shape, seed, data):
    voxels = np.random.default_rng(seed).integers(-502, -498, shape).astype(np.int16)
    voxels[:: 1 + seed % 3, :: 1 + seed % 5] = -1000
    memory, file = stored(voxels), in_file(voxels, tmp_path_factory.mktemp("bricks"))
    assume(memory.body_count)
    last = memory.body_count - 1
    for rank in {0, last, *data.draw(st.lists(st.integers(0, last), max_size=9))}:
        np.testing.assert_array_equal(file.body_voxel(rank), memory.body_voxel(rank))


@pytest.mark.parametrize("cut", [None, 100])
def test_a_file_that_is_gone_or_cut_during_a_run_is_reported(tmp_path, cut):
    volume = in_file(np.zeros((10, 10, 10), "<i2"), tmp_path)
    if cut:
        os.truncate(volume.file.path, cut)
    else:
        volume.file.path.unlink()
    with pytest.raises(InputError, match=r"can no longer be read.*restore it"):
        _ = volume.voxels
    with pytest.raises(InputError, match=r"can no longer be read.*restore it"):
        volume.body_voxel(999)


def test_a_mask_without_the_counted_voxels_is_reported(tmp_path):
    """A disk may return other bytes than it was given, without an error."""
    volume = in_file(np.zeros((3, 3, 3), "<i2"), tmp_path)
    with volume.file.path.open("r+b") as file:
        file.seek(volume.file.layout.mask_span(0)[0])
        file.write(bytes(volume.file.layout.mask_span(0)[1]))
    with pytest.raises(InputError, match="damaged"):
        volume.body_voxel(5)
