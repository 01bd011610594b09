import errno
import hashlib
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.datasets.cache.brick_file import BrickFile, write_bricks
from ct_vae.datasets.cache.brick_layout import BrickLayout
from ct_vae.datasets.cache.stored_volume import StoredVolume, count_body
from ct_vae.datasets.patches import PatchDataset, cut
from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.volume import Volume

# Sides around those of one and two columns.
SIDES = st.one_of(st.integers(1, 9), st.integers(30, 35), st.integers(60, 70))


def volume_of(shape, seed=0):
    return np.random.default_rng(seed).integers(-32768, 32768, shape).astype(np.int16)


def written(voxels, folder):
    write_bricks(folder / "v.bricks", voxels)
    return BrickFile(folder / "v.bricks", BrickLayout(voxels.shape))


@given(st.tuples(st.integers(1, 9), SIDES, SIDES), st.data())
def test_any_box_is_what_numpy_slices(tmp_path_factory, shape, data):
    voxels = volume_of(shape)
    file = written(voxels, tmp_path_factory.mktemp("bricks"))
    np.testing.assert_array_equal(file.read_box((0, 0, 0), shape), voxels)
    for _ in range(5):
        low = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
        high = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(low, shape, strict=True))
        expected = voxels[tuple(map(slice, low, high))]
        np.testing.assert_array_equal(file.read_box(low, high), expected)


@given(
    st.tuples(*[st.integers(1, 80)] * 3),
    st.tuples(*[st.integers(-90, 90)] * 3),
    st.tuples(*[st.integers(1, 90)] * 3),
)
def test_patches_from_a_file_and_from_memory_are_equal(tmp_path_factory, shape, corner, sides):
    voxels = volume_of(shape)
    memory = StoredVolume.of(Volume(voxels, Grid(shape, np.eye(4))))
    file = written(voxels, tmp_path_factory.mktemp("bricks"))
    stored = StoredVolume(shape, (1.0, 1.0, 1.0), memory.body_counts, file)
    corner, sides = np.array(corner), np.array(sides)
    found = cut(stored, corner, sides)
    np.testing.assert_array_equal(found, cut(memory, corner, sides))
    assert found.flags.writeable


def test_the_digest_and_the_size_are_those_of_the_file(tmp_path):
    voxels = volume_of((3, 70, 65))
    digest = write_bricks(tmp_path / "v", voxels)
    content = (tmp_path / "v").read_bytes()
    assert digest == hashlib.sha256(content).hexdigest()
    assert len(content) == BrickLayout(voxels.shape).file_bytes
    assert content.startswith(BrickLayout(voxels.shape).header)


@given(st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 70)))
def test_the_body_is_read_plane_by_plane(tmp_path_factory, shape):
    voxels = np.random.default_rng(0).integers(-502, -498, shape).astype(np.int16)
    file = written(voxels, tmp_path_factory.mktemp("bricks"))
    for x, plane in enumerate(voxels):
        np.testing.assert_array_equal(file.read_body(x), plane > -500)


@pytest.fixture
def reads(monkeypatch):
    """Offset in a page, and bytes, of every read from now on."""
    seen, real = [], os.preadv

    def counted(descriptor, buffers, offset):
        seen.append((offset % 4096, sum(map(len, buffers))))
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", counted)
    return seen


def test_a_box_of_64_takes_six_aligned_reads_of_256_kib(tmp_path, reads):
    file = written(volume_of((130, 130, 130)), tmp_path)
    file.read_box((3, 5, 7), (67, 69, 71))
    assert reads == [(0, 1 << 18)] * 6


def test_a_patch_on_the_body_takes_one_more_small_read(tmp_path, reads):
    voxels = volume_of((70, 130, 130))
    volume = StoredVolume(voxels.shape, (1.0,) * 3, count_body(voxels), written(voxels, tmp_path))
    data = PatchDataset([volume], (64, 64, 64), 9, 0, 1.0)
    for index in range(len(data)):
        reads.clear()
        data[index]
        assert len(reads) <= 7
        assert reads[0][1] == math.ceil(130 * 130 / 8)
        assert sum(count for _, count in reads[1:]) <= 6 << 18


def test_reads_that_return_less_than_asked_are_continued(tmp_path, monkeypatch):
    voxels = volume_of((9, 70, 70))
    file, real = written(voxels, tmp_path), os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at: real(fd, [buffers[0][:999]], at))
    np.testing.assert_array_equal(file.read_box((1, 2, 3), (9, 69, 70)), voxels[1:9, 2:69, 3:70])


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_errors_of_the_disk_are_reported_with_the_path(tmp_path, monkeypatch, code):
    file = written(volume_of((2, 2, 2)), tmp_path)

    def failing(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "preadv", failing)
    for read in (lambda: file.read_box((0, 0, 0), (1, 1, 1)), lambda: file.read_body(0)):
        with pytest.raises(InputError, match=rf"v\.bricks: .*{os.strerror(code)}.*restore it"):
            read()


def test_no_descriptor_stays_open(tmp_path):
    file = written(volume_of((2, 2, 2)), tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        file.read_box((0, 0, 0), (2, 2, 2))
        file.read_body(1)
    os.truncate(file.path, 100)
    for _ in range(5):
        with pytest.raises(InputError, match="it has been truncated"):
            file.read_box((0, 0, 0), (2, 2, 2))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
