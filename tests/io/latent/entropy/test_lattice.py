import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io.latent.entropy.lattice import lattice_passes, smoothest_last

sides = st.integers(1, 9)


@given(st.tuples(sides, sides, sides), st.permutations(range(3)))
def test_every_voxel_but_the_first_is_added_once_and_after_its_neighbors(shape, order):
    times = np.full((1, *shape), -1)
    times[0, 0, 0, 0] = 0
    for k, step in enumerate(lattice_passes(shape, order), start=1):
        added = times[step.added]
        assert added.size > 0
        assert (added == -1).all()
        assert (times[step.known] >= 0).all()
        times[step.added] = k
    assert (times >= 0).all()


@given(st.tuples(sides, sides, sides), st.permutations(range(3)))
def test_an_added_voxel_lies_midway_between_known_ones(shape, order):
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    for step in lattice_passes(shape, order):
        known, added = step.view(places, step.known), step.view(places, step.added)
        # The last may have a neighbor on one side only.
        between = known[1 : len(added) + 1]
        np.testing.assert_array_equal(2 * added[: len(between)], known[: len(between)] + between)


def test_the_axis_with_the_smallest_differences_comes_last():
    x, y, z = np.meshgrid(*map(np.arange, (5, 6, 7)), indexing="ij")
    integers = (3 * x + y + 9 * z)[np.newaxis].astype(np.int32)
    assert smoothest_last(integers) == (2, 0, 1)
