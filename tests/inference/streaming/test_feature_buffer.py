from contextlib import closing

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.inference.streaming.feature_buffer import FeatureBuffer, FeatureBufferPool, StoreSizes

SHAPE = (3, 7, 4, 5)
CPU = torch.device("cpu")
KIND = pytest.mark.parametrize("kind", ["device", "host", "disk"])


@pytest.fixture
def pool():
    with closing(FeatureBufferPool(CPU, 2**20)) as stores:
        yield stores


@KIND
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_slices_come_back_from_any_place(pool, kind, layout):
    values = torch.randn(1, *SHAPE, dtype=torch.float64)
    buffer = FeatureBuffer(SHAPE, torch.float64, pool.take(kind, values.nbytes))
    for start, stop in ((0, 1), (1, 4), (4, 7)):
        buffer.append(values[:, :, start:stop].contiguous(memory_format=layout))
    for start, count in ((0, 7), (2, 3), (6, 1)):
        out = torch.empty(1, count, 4, 5, 3, dtype=torch.float64).permute(0, 4, 1, 2, 3)
        buffer.read_into(start, out)
        assert torch.equal(out, values[:, :, start : start + count])


@KIND
def test_slices_of_another_type_are_never_taken_for_numbers(pool, kind):
    buffer = FeatureBuffer(SHAPE, torch.float32, pool.take(kind, 7 * 3 * 4 * 5 * 4))
    with pytest.raises(AssertionError, match=r"torch.float32 is given slices of torch.bfloat16"):
        buffer.append(torch.zeros(1, 3, 1, 4, 5, dtype=torch.bfloat16))


@KIND
def test_room_is_used_again(pool, kind):
    first, second = pool.take(kind, 4000), pool.take(kind, 9000)
    assert first is not second
    pool.give_back(kind, second)
    pool.give_back(kind, first)
    assert pool.take(kind, 3000) is first
    assert pool.take(kind, 3000) is second


def test_room_that_is_too_small_is_let_go(pool):
    file = pool.take("disk", 1000)
    pool.give_back("disk", file)
    larger = pool.take("disk", 2000)
    assert larger is not file
    assert file._file.closed


def test_files_in_use_are_closed_as_well(pool):
    """A run that fails leaves its buffers where they are."""
    file = pool.take("disk", 2000)
    pool.close()
    assert file._file.closed


@given(st.data())
def test_a_pool_holds_what_its_sizes_tell(data):
    """Whatever is taken and given back, the plan and the pool agree on what is held."""
    with closing(FeatureBufferPool(torch.device("cpu"))) as pool:
        sizes, used = StoreSizes(), []
        for _ in range(data.draw(st.integers(1, 12))):
            if used and data.draw(st.booleans()):
                size, store = used.pop(data.draw(st.integers(0, len(used) - 1)))
                sizes.give_back(size)
                pool.give_back("device", store)
                continue
            size = data.draw(st.integers(1, 9)) * 64
            used.append((sizes.take(size), pool.take("device", size)))
            assert used[-1][0] == used[-1][1].numel()
            free = sum(store.numel() for store in pool._free["device"])
            assert sizes.total == free + sum(size for size, _ in used)
