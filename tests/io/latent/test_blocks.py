import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ct_vae.io.latent import blocks as module
from ct_vae.io.latent.blocks import blocks


@given(hnp.array_shapes(min_dims=1, max_dims=4, max_side=5), st.integers(1, 40))
def test_blocks_are_small_views_that_cover_everything_in_order(shape, size):
    one, two = np.zeros(shape), np.arange(np.prod(shape)).reshape(shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK_VALUES", size)
        parts = []
        for target, values in blocks(one, two):
            assert target.shape == values.shape
            assert target.size <= size
            target[...] = values
            parts.append(values.ravel())
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(np.concatenate(parts), two.ravel())
