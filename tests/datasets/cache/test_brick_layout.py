import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.datasets.cache.brick_layout import BrickLayout

SHAPES = st.tuples(st.integers(1, 300), st.integers(1, 400), st.integers(1, 400))


@given(SHAPES)
def test_columns_follow_each_other_and_nothing_but_their_beginnings_is_padded(shape):
    layout = BrickLayout(shape)
    columns = list(layout.columns())
    assert len(columns) == np.prod(layout.counts)
    end = sum(layout.mask_span(shape[0] - 1))
    assert layout.mask_span(0)[0] == len(layout.header) == 64
    for column in columns:
        assert column.offset % 4096 == 0
        assert 0 <= column.offset - end < 4096
        end = sum(column.span(0, shape[0]))
    assert end == layout.file_bytes
    voxels = sum(column.sides[0] * column.sides[1] for column in columns) * shape[0]
    assert voxels == np.prod(shape)


@given(SHAPES)
def test_a_file_is_hardly_larger_than_the_voxels(shape):
    layout = BrickLayout(shape)
    beside = 64 + shape[0] + 4096 * np.prod(layout.counts)
    assert layout.file_bytes <= (2 + 1 / 8) * np.prod(shape) + beside


@given(SHAPES, st.data())
def test_a_patch_of_64_meets_at_most_six_columns_with_256_kib_in_each(shape, data):
    room = [max(0, n - 64) for n in shape]
    low = tuple(data.draw(st.integers(0, n)) for n in room)
    high = tuple(min(a + 64, n) for a, n in zip(low, shape, strict=True))
    layout = BrickLayout(shape)
    columns = list(layout.meeting(low, high))
    assert 1 <= len(columns) <= 6
    for column in columns:
        offset, count = column.span(low[0], high[0])
        assert count <= 1 << 18
        assert column.offset <= offset
        assert offset + count <= sum(column.span(0, shape[0]))
