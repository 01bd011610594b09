import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.datasets.patches import PatchDataset, cut
from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.volume import AIR_HU, Volume


def volume(shape, fill=None):
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    return Volume(
        voxels if fill is None else np.full(shape, fill, np.int16), Grid(shape, np.eye(4))
    )


def banal_cut(voxels, corner, sides):
    patch = np.empty(sides, np.int16)
    for offset in np.ndindex(*sides):
        place = [c + o for c, o in zip(corner, offset, strict=True)]
        inside = all(0 <= p < n for p, n in zip(place, voxels.shape, strict=True))
        patch[offset] = voxels[tuple(place)] if inside else AIR_HU
    return patch


@given(
    st.tuples(*[st.integers(1, 5)] * 3),
    st.tuples(*[st.integers(-7, 7)] * 3),
    st.tuples(*[st.integers(1, 6)] * 3),
)
def test_cut_agrees_with_a_loop_over_voxels(shape, corner, sides):
    voxels = volume(shape).voxels
    result = cut(voxels, np.array(corner), np.array(sides))
    np.testing.assert_array_equal(result, banal_cut(voxels, corner, sides))


def test_a_patch_is_a_function_of_seed_and_index():
    volumes = [volume((9, 8, 7)), volume((6, 7, 8), 40)]
    first, second = (PatchDataset(volumes, (4, 4, 4), 50, 7, 0.5) for _ in range(2))
    other = PatchDataset(volumes, (4, 4, 4), 50, 8, 0.5)
    backwards = [second[i] for i in reversed(range(50))][::-1]
    assert all(torch.equal(first[i], backwards[i]) for i in range(50))
    assert any(not torch.equal(first[i], other[i]) for i in range(50))
    assert len({first[i].numpy().tobytes() for i in range(50)}) > 20


def test_patches_have_a_channel_and_are_int16():
    patch = PatchDataset([volume((9, 8, 7))], (4, 3, 2), 1, 0, 0.5)[0]
    assert patch.shape == (1, 4, 3, 2)
    assert patch.dtype == torch.int16


def test_two_sides_give_axial_slices():
    source = volume((9, 8, 7))
    data = PatchDataset([source], (4, 3), 20, 0, 0.5)
    slices = [source.voxels[:, :, k] for k in range(7)]
    for i in range(20):
        patch = data[i].numpy()[0]
        windows = [np.lib.stride_tricks.sliding_window_view(s, (4, 3)) for s in slices]
        assert any((w == patch).all(axis=(2, 3)).any() for w in windows)


def test_small_volumes_are_filled_up_with_air():
    data = PatchDataset([volume((2, 2, 2), 40)], (4, 4, 4), 20, 0, 0.5)
    for i in range(20):
        patch = data[i]
        assert (patch == 40).sum() == 8
        assert (patch == AIR_HU).sum() == 56


def test_foreground_share_centres_patches_on_the_body():
    shape = (40, 40, 40)
    voxels = np.full(shape, -1000, np.int16)
    voxels[18:20, 18:20, 18:20] = 40
    source = Volume(voxels, Grid(shape, np.eye(4)))

    def hits(share):
        data = PatchDataset([source], (4, 4, 4), 200, 1, share)
        return sum(bool((data[i] == 40).any()) for i in range(200))

    assert hits(1.0) == 200
    assert 120 <= hits(0.7) <= 180
    assert hits(0.0) < 20


def test_the_whole_volume_is_reached():
    data = PatchDataset([volume((6, 5, 4))], (3, 3, 3), 400, 0, 0.0)
    seen = np.unique(np.concatenate([data[i].numpy().ravel() for i in range(400)]))
    assert set(range(6 * 5 * 4)) <= set(seen.tolist())


def test_no_volume_is_refused_and_the_end_is_an_index_error():
    with pytest.raises(InputError, match="at least one volume"):
        PatchDataset([], (4, 4, 4), 10, 0, 0.5)
    with pytest.raises(IndexError):
        PatchDataset([volume((4, 4, 4))], (4, 4, 4), 10, 0, 0.5)[10]
