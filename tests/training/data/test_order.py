from hypothesis import given
from hypothesis import strategies as st

from ct_vae.training.data.order import SeededOrder

sizes = st.integers(1, 20)
lengths = st.integers(1, 70)


@given(sizes, lengths, st.integers(0, 5))
def test_each_pass_takes_every_item_once(size, samples, seed):
    order = list(SeededOrder(size, samples, seed))
    assert len(order) == samples == len(SeededOrder(size, samples, seed))
    for begin in range(0, samples - size + 1, size):
        assert sorted(order[begin : begin + size]) == list(range(size))


@given(sizes, lengths, st.data())
def test_a_run_can_begin_at_any_place(size, samples, data):
    start = data.draw(st.integers(0, samples))
    whole = list(SeededOrder(size, samples, 3))
    assert list(SeededOrder(size, samples, 3, start)) == whole[start:]


def test_passes_and_seeds_differ():
    order = list(SeededOrder(50, 100, 0))
    assert order[:50] != order[50:]
    assert order != list(SeededOrder(50, 100, 1))
