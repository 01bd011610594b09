import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import DivisiblePad, Orientation, ScaleIntensityRange

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.preprocess.pipeline import Preprocessor
from ct_vae.preprocess.restoration import restore
from ct_vae.volume import Volume
from tests._asserts import assert_same_place
from tests._strategies import ALL_AXCODES, affines, axcodes, factors

SIDES = st.tuples(*[st.integers(1, 12)] * 3)


def ct(grid, seed=0):
    """Whole HU in the window, so that only rounding of the map is left."""
    rng = np.random.default_rng(seed)
    return Volume(rng.integers(-1000, 1001, grid.shape).astype(np.int16), grid)


@given(SIDES, affines(shear=0.01), axcodes, factors)
def test_the_way_back_is_exact_in_place_and_value(sides, affine, target, factor):
    volume = ct(Grid(sides, affine))
    prepared = Preprocessor(target)(volume, factor)
    back = restore(prepared.tensor[0, 0], prepared.record, volume.grid)
    assert back.grid == volume.grid
    np.testing.assert_allclose(back.voxels, volume.voxels, atol=1e-3)


@given(SIDES, affines(shear=0.01), axcodes, factors)
def test_every_voxel_of_the_input_is_where_the_record_says(sides, affine, target, factor):
    volume = ct(Grid(sides, affine))
    pipeline = Preprocessor(target)
    prepared = pipeline(volume, factor)
    grid = prepared.record.oriented.grid().pad(prepared.record.pad_low, prepared.record.pad_high)
    assert prepared.tensor.shape[2:] == grid.shape
    for index in np.ndindex(*(min(2, n) for n in prepared.record.oriented.shape)):
        source = np.rint(volume.grid.to_index(grid.to_world(index))).astype(int)
        hu = pipeline.scale.to_hu(prepared.tensor[(0, 0, *index)]).item()
        assert hu == pytest.approx(volume.voxels[tuple(source)], abs=1e-3)


@pytest.mark.parametrize("source", ALL_AXCODES)
def test_all_orientations_give_the_model_the_same_picture(source):
    base = ct(Grid((5, 6, 7), np.diag([1.0, 1.5, 2.0, 1.0])))
    turned = Volume(base.grid.reorient_array(base.voxels, source), base.grid.reorient(source))
    expected, seen = (Preprocessor()(v, (1, 1, 1)) for v in (base, turned))
    assert torch.equal(expected.tensor, seen.tensor)
    assert_same_place(seen.record.oriented.grid(), base.grid)


def test_padding_repeats_the_border_at_the_high_end():
    """A body that is cut off by the border goes on beyond it, as in no volume of air would."""
    voxels = np.full((5, 4, 3), -1000, np.int16)
    voxels[4], voxels[:, :, 2] = 40, 100
    volume = Volume(voxels, Grid((5, 4, 3), np.eye(4)))
    prepared = Preprocessor()(volume, (4, 4, 4))
    assert prepared.tensor.shape == (1, 1, 8, 4, 4)
    assert prepared.record.pad_high == (3, 0, 1)
    units = prepared.tensor[0, 0]
    assert (units[5:] == units[4]).all()
    assert (units[..., 3] == units[..., 2]).all()
    expected = torch.from_numpy(voxels / 1000).float()
    torch.testing.assert_close(units[:5, :, :3], expected)


def test_clipped_shares_and_the_field_of_view_are_recorded():
    voxels = np.array([-1024, -1000, 0, 3000], np.int16).reshape(4, 1, 1)
    fov = np.array([True, False, False, False]).reshape(4, 1, 1)
    record = Preprocessor()(Volume(voxels, Grid((4, 1, 1), np.eye(4)), fov), (1, 1, 1)).record
    assert (record.clipped_below, record.clipped_above, record.outside_fov) == (0.25, 0.25, 0.25)


def test_resampling_comes_back_to_the_source_grid():
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    x, y, z = np.meshgrid(np.arange(32), np.arange(32), np.arange(12), indexing="ij")
    smooth = (20 * x - 10 * y + 15 * z).astype(np.int16)
    volume = Volume(smooth, Grid((32, 32, 12), affine))
    prepared = Preprocessor(spacing_mm=(2.0, 2.0, 2.0))(volume, (4, 4, 4))
    assert prepared.record.oriented.grid().spacing_mm == pytest.approx((2, 2, 2))
    back = restore(prepared.tensor[0, 0], prepared.record, volume.grid)
    assert back.grid == volume.grid
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(back.voxels[inner], smooth[inner], atol=0.5)


def test_output_of_another_size_is_refused():
    volume = ct(Grid((4, 4, 4), np.eye(4)))
    prepared = Preprocessor()(volume, (4, 4, 4))
    with pytest.raises(InputError, match="not \\(4, 4, 4\\)"):
        restore(torch.zeros(4, 4, 8), prepared.record, volume.grid)


def test_a_record_that_contradicts_its_source_is_refused():
    volume = ct(Grid((4, 4, 4), np.eye(4)))
    prepared = Preprocessor()(volume, (4, 4, 4))
    moved = Grid((4, 4, 4), volume.grid.affine + np.diag([0.5, 0, 0, 0]))
    with pytest.raises(InputError, match="mm apart"):
        restore(prepared.tensor[0, 0], prepared.record, moved)


@given(SIDES, affines(), axcodes, factors)
def test_without_resampling_the_input_is_that_of_monai_bit_by_bit(sides, affine, target, factor):
    volume = ct(Grid(sides, affine))
    labels = (("L", "R"), ("P", "A"), ("I", "S"))
    image = torch.from_numpy(volume.voxels)[None]
    expected = MetaTensor(image, affine=torch.tensor(volume.grid.affine))
    for step in (
        Orientation(target, labels=labels),
        ScaleIntensityRange(-900, 800, 0, 1, clip=True),
        DivisiblePad(factor, mode="edge", method="end"),
    ):
        expected = step(expected)
    made = Preprocessor(target, window_hu=(-900, 800), model_range=(0, 1))(volume, factor)
    assert torch.equal(made.tensor[0], expected.as_tensor())
