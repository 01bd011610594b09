import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.preprocess.pipeline import Preprocessor
from ct_vae.preprocess.restoration import Restoration, restore
from ct_vae.volume import Volume
from tests._strategies import affines, axcodes, factors

SIDES = st.tuples(*[st.integers(1, 12)] * 3)


def output(grid, target, factor, **settings):
    """A record, and model output with fractions of HU on its padded grid."""
    prepared = Preprocessor(target, **settings)(
        Volume(np.zeros(grid.shape, np.int16), grid), factor
    )
    generator = torch.Generator().manual_seed(0)
    units = 2.4 * torch.rand(prepared.tensor.shape[2:], generator=generator) - 1.2
    return prepared.record, units


def in_slabs(units, restoration, cuts):
    start = 0
    for slab in torch.tensor_split(units, sorted(cuts)):
        restoration.write(start, slab)
        start += len(slab)
    return restoration.volume()


@given(SIDES, affines(shear=0.01), axcodes, factors, st.lists(st.integers(0, 12), max_size=4))
def test_slabs_give_the_same_volume_as_the_whole(sides, affine, target, factor, cuts):
    grid = Grid(sides, affine)
    record, units = output(grid, target, factor)
    whole = restore(units, record, grid)
    assert in_slabs(units, Restoration(record, grid), cuts).voxels.tobytes() == (
        whole.voxels.tobytes()
    )
    rounded = in_slabs(units, Restoration(record, grid, whole_hu=True), cuts)
    assert rounded.voxels.dtype == np.int16
    np.testing.assert_array_equal(rounded.voxels, np.rint(whole.voxels))
    assert rounded.derived


def test_a_resampled_volume_is_rounded_as_well():
    grid = Grid((8, 8, 6), np.diag([1.0, 1.0, 2.0, 1.0]))
    record, units = output(grid, "RAS", (2, 2, 2), spacing_mm=(1.5, 1.5, 1.5))
    whole = restore(units, record, grid)
    rounded = in_slabs(units, Restoration(record, grid, whole_hu=True), [3])
    np.testing.assert_array_equal(rounded.voxels, np.rint(whole.voxels))


@pytest.mark.parametrize(("window", "value"), [((-1000.0, 1000.0), np.nan), ((-1e3, 1e5), 1.0)])
def test_what_int16_does_not_hold_is_refused(window, value):
    grid = Grid((4, 4, 4), np.eye(4))
    record, units = output(grid, "RAS", (1, 1, 1), window_hu=window)
    units[2, 1, 3] = value
    restoration = Restoration(record, grid, whole_hu=True)
    with pytest.raises(InputError, match="cannot be stored as int16"):
        in_slabs(units.clamp(max=1), restoration, [2])


def test_whole_hu_are_in_memory_once():
    grid = Grid((16, 16, 16), np.eye(4))
    record, _ = output(grid, "LPS", (4, 4, 4))
    restoration = Restoration(record, grid, whole_hu=True)
    assert restoration.unallocated_bytes == 2 * 16**3
    assert np.shares_memory(restoration._view, restoration._voxels)
