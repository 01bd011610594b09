import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from ct_vae.config.data import AugmentConfig
from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.patches import PatchDataset, cut
from ct_vae.datasets.resize import resize
from ct_vae.errors import ConfigError, InputError
from ct_vae.grid import Grid
from ct_vae.volume import AIR_HU, Volume
from tests._small import ct_volume

EVERYTHING = AugmentConfig(
    flip=(0.5, 0.5, 0.5), rotate_degrees=10.0, zoom=0.1, resample_share=0.5, noise_hu=20.0
)


def stored(voxels):
    return StoredVolume.of(Volume(voxels, Grid(voxels.shape, np.eye(4))))


def volume(shape, fill=None):
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    return stored(voxels if fill is None else np.full(shape, fill, np.int16))


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
    source = volume(shape)
    result = cut(source, np.array(corner), np.array(sides))
    np.testing.assert_array_equal(result, banal_cut(source.voxels, corner, sides))
    # A patch that is changed in place leaves the volume alone.
    result[...] = 7
    np.testing.assert_array_equal(source.voxels, volume(shape).voxels)


@pytest.mark.parametrize("augment", [None, EVERYTHING])
def test_a_patch_is_a_function_of_seed_and_index(augment):
    volumes = [volume((9, 8, 7)), volume((6, 7, 8), 40)]
    first, second = (PatchDataset(volumes, (4, 4, 4), 50, 7, 0.5, augment) for _ in range(2))
    other = PatchDataset(volumes, (4, 4, 4), 50, 8, 0.5, augment)
    torch.rand(3)
    np.random.default_rng().random()
    backwards = [second[i] for i in reversed(range(50))][::-1]
    assert all(torch.equal(first[i], backwards[i]) for i in range(50))
    assert any(not torch.equal(first[i], other[i]) for i in range(50))
    assert len({first[i].numpy().tobytes() for i in range(50)}) > 20
    longer = PatchDataset(volumes, (4, 4, 4), 500, 7, 0.5, augment)
    assert all(torch.equal(first[i], longer[i]) for i in range(50))


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_change_nothing(method, workers):
    data = PatchDataset([StoredVolume.of(ct_volume())], (8, 4, 4), 12, 7, 0.5, EVERYTHING)
    alone = list(DataLoader(data, batch_size=3))
    helped = DataLoader(data, batch_size=3, num_workers=workers, multiprocessing_context=method)
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_a_copy_gives_the_same_patches():
    data = PatchDataset(
        [StoredVolume.of(ct_volume())], (8, 4, 4), 12, 7, 0.5, EVERYTHING, (4, 4, 4)
    )
    copy = pickle.loads(pickle.dumps(data))
    assert all(torch.equal(data[i], copy[i]) for i in range(12))
    assert copy.case_count == 1


def test_augmentation_and_size_leave_the_choice_of_places_alone():
    """Flipped back, changed patches are the plain ones."""
    source = [volume((12, 11, 10))]
    plain = PatchDataset(source, (4, 4, 4), 40, 3, 0.5)
    flipped = PatchDataset(source, (4, 4, 4), 40, 3, 0.5, AugmentConfig(flip=(1.0, 0.0, 1.0)))
    resized = PatchDataset(source, (4, 4, 4), 40, 3, 0.5, None, (6, 2, 4))
    for i in range(40):
        assert torch.equal(flipped[i].flip((1, 3)), plain[i])
        torch.testing.assert_close(resized[i], resize(plain[i].float(), (6, 2, 4)))


def test_every_patch_of_a_data_set_has_one_type():
    source = [volume((12, 11, 10))]
    flipped = PatchDataset(source, (4, 4, 4), 9, 3, 0.5, AugmentConfig(flip=(0.5, 0.5, 0.5)))
    assert {flipped[i].dtype for i in range(9)} == {torch.int16}
    for changes in ({"noise_hu": 5.0}, {"zoom": 0.1}, {"rotate_degrees": 5.0}):
        data = PatchDataset(source, (4, 4, 4), 9, 3, 0.5, AugmentConfig(**changes))
        assert {data[i].dtype for i in range(9)} == {torch.float32}
    sized = PatchDataset(source, (4, 4, 4), 9, 3, 0.5, None, (4, 4, 4))
    assert sized[0].dtype == torch.float32


def test_centres_of_large_bodies_are_chosen_at_random_once_for_a_run():
    """Of more than 50 000 body voxels so many are chosen, spread over the whole body."""
    shape = (64, 60, 50)
    voxels = np.full(shape, 40, np.int16)
    voxels[:10] = -1000
    data = PatchDataset([stored(voxels)], (1, 1, 1), 600, 0, 1.0)
    assert all(int(data[i].item()) == 40 for i in range(600))
    index = np.arange(voxels.size, dtype=np.int64).reshape(shape)
    corners = [data._corner(0, np.random.default_rng([0, i])) for i in range(600)]
    places = {int(index[tuple(corner)]) for corner in corners}
    assert len(places) > 580
    planes = np.array([corner[0] for corner in corners])
    assert 10 <= planes.min() < 14
    assert 60 <= planes.max() < 64
    assert abs(planes.mean() - 36.5) < 3


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
    source = stored(voxels)

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


def test_volumes_are_taken_as_often_as_their_weights_say():
    marks = [replace(volume((4, 4, 4), i), weight=w) for i, w in enumerate((1.0, 3.0, 0.5))]
    data = PatchDataset(marks, (2, 2, 2), 2000, 0, 0.0)
    counts = np.bincount([int(data[i].flatten()[0]) for i in range(2000)], minlength=3)
    expected = 2000 * np.array([1.0, 3.0, 0.5]) / 4.5
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected.max())


def test_equal_weights_draw_as_no_weights_do():
    plain = [volume((6, 6, 6)), volume((6, 6, 6), 40)]
    weighted = [replace(v, weight=2.5) for v in plain]
    one, other = (PatchDataset(v, (4, 4, 4), 20, 0, 0.5) for v in (plain, weighted))
    assert all(torch.equal(one[i], other[i]) for i in range(20))


def test_no_volume_is_refused_and_the_end_is_an_index_error():
    with pytest.raises(InputError, match="at least one volume"):
        PatchDataset([], (4, 4, 4), 10, 0, 0.5)
    with pytest.raises(IndexError):
        PatchDataset([volume((4, 4, 4))], (4, 4, 4), 10, 0, 0.5)[10]


def test_other_numbers_of_sides_are_refused():
    with pytest.raises(ConfigError, match="two or three sides"):
        PatchDataset([volume((4, 4, 4))], (4,), 10, 0, 0.5)
