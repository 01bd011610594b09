import torch
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.inference.streaming.slice_window import SliceWindow


@given(
    capacity=st.integers(1, 8),
    moves=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), max_size=20),
)
def test_the_window_holds_the_slices_that_were_appended(capacity, moves):
    allocated = []

    def empty(count):
        allocated.append(count)
        return torch.full((1, 1, count, 1, 1), -1.0)

    window = SliceWindow(empty, capacity)
    for count, dropped in moves:
        part = window.append(count)
        part[0, 0, :, 0, 0] = torch.arange(window.stop - count, window.stop)
        window.drop(min(window.stop, window.start + dropped))
        held = window.at(window.start, window.stop)
        assert held.flatten().tolist() == list(range(window.start, window.stop))
    assert allocated == sorted(allocated)


def test_memory_is_allocated_once_if_the_capacity_suffices():
    allocated = []
    window = SliceWindow(lambda n: allocated.append(n) or torch.zeros(1, 1, n, 1, 1), 4)
    for _ in range(50):
        window.append(2)
        window.drop(window.stop - 2)
    assert allocated == [4]
