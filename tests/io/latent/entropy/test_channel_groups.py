import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io.latent.entropy import channel_groups as module
from ct_vae.io.latent.entropy.channel_groups import channel_groups
from ct_vae.io.latent.entropy.lattice import lattice_passes
from ct_vae.io.latent.entropy.prediction import CONTEXTS


@given(st.integers(1, 7), st.integers(1, 200))
def test_groups_are_views_that_know_the_two_channels_before(channels, size):
    integers = np.zeros((channels, 3, 2, 4), np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_GROUP_VALUES", size)
        at = 0
        for group in channel_groups(integers):
            count = len(group.integers)
            assert group.channels == slice(at, at + count)
            assert group.rows == slice(at * CONTEXTS, (at + count) * CONTEXTS)
            group.integers[...] = 1
            before = group.magnitudes[:-count, 1, 1, 1]
            # Zeros stand for channels that do not exist; a single group needs none.
            expected = [0, 0, *range(1, at + 1)][-2:] if count < channels else []
            assert before.tolist() == expected
            assert (group.magnitudes[-count:, 0, 0, 0] == 0).all()
            for k in range(count):
                group.magnitudes[k - count] = at + k + 1
            at += count
    assert at == channels
    assert integers.all()


@given(st.tuples(*[st.integers(1, 6)] * 4), st.integers(1, 40))
def test_slabs_cover_the_added_voxels_of_a_pass_once(shape, size):
    integers = np.zeros(shape, np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SLAB_VALUES", size)
        (group,) = channel_groups(integers)
        for step in lattice_passes(shape[1:], (2, 0, 1)):
            for rows, slab in group.slabs(step):
                assert len(slab.values) == rows.stop - rows.start == len(slab.near.near)
                slab.values[...] += 1
                order, counts = slab.sorting(0)
                assert order.size == counts.sum() == slab.values[:, 0].size
    integers[:, 0, 0, 0] += 1
    assert (integers == 1).all()
