import pytest
import torch

from ct_vae.blocks.memory_format import memory_format


@pytest.mark.parametrize(
    ("spatial_dims", "channels_last"), [(1, False), (2, True), (3, True), (4, False)]
)
def test_channels_are_last_in_memory_where_torch_has_such_a_format(spatial_dims, channels_last):
    x = torch.zeros(2, 3, *(4,) * spatial_dims)
    if spatial_dims < 4:
        x = x.to(memory_format=memory_format(spatial_dims))
        assert (x.stride(1) == 1) is channels_last
    assert (memory_format(spatial_dims) is not torch.contiguous_format) is channels_last
