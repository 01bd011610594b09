import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.evaluation.metrics.pair import Pair, check_same_grid, slabs_of
from ct_vae.grid import Grid
from ct_vae.volume import Volume
from tests._strategies import axcodes
from tests.evaluation._cases import random_volume, volume_of


@given(st.tuples(*[st.integers(1, 12)] * 3), st.integers(1, 2000))
def test_slabs_are_the_volume_and_no_larger_than_asked(shape, voxels):
    slabs = list(slabs_of(shape, voxels))
    assert [k for part in slabs for k in range(shape[0])[part]] == list(range(shape[0]))
    for part in slabs:
        thick = part.stop - part.start
        assert thick == 1 or thick * shape[1] * shape[2] <= voxels


@settings(max_examples=48)
@given(axcodes, st.sampled_from("CF"))
def test_slices_are_axial_whatever_the_orientation_and_nothing_is_copied(codes, order):
    """What tells slices apart is the place from feet to head."""
    head = np.broadcast_to(np.arange(4, dtype=np.int16), (2, 3, 4))
    straight = Grid((2, 3, 4), np.diag([1.0, 2.0, 5.0, 1.0]))
    voxels = np.array(straight.reorient_array(head, codes), order=order)
    volume = Volume(voxels, straight.reorient(codes))
    pair = Pair(volume, volume)
    original, result = pair.images
    assert original.shape[0] == 4
    assert all(np.ptp(plane) == 0 for plane in original)
    assert pair.spacing_mm[0] == 5
    assert original.shape[1:] == tuple({1.0: 2, 2.0: 3}[s] for s in pair.spacing_mm[1:])
    assert np.shares_memory(original, voxels)
    assert np.shares_memory(result, voxels)
    assert original.strides[1] >= original.strides[2]


@pytest.mark.parametrize(("moved", "refused"), [(0.009, False), (0.011, True), (-30.0, True)])
def test_grids_agree_to_a_hundredth_of_a_millimetre(moved, refused):
    volume = random_volume()
    affine = volume.grid.affine.copy()
    affine[1, 3] += moved
    other = Volume(volume.voxels, Grid(volume.grid.shape, affine))
    if not refused:
        check_same_grid(volume, other)
        return
    for work in (check_same_grid, Pair):
        with pytest.raises(InputError, match="mm apart"):
            work(volume, other)


def test_shapes_are_told_when_they_differ():
    with pytest.raises(InputError, match=r"\(2, 3, 4\).*\(2, 3, 5\)"):
        Pair(volume_of(np.zeros((2, 3, 4), np.int16)), volume_of(np.zeros((2, 3, 5), np.int16)))
