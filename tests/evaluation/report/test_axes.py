import pytest

from ct_vae.evaluation.report.axes import Axes


def test_axes_map_their_ends_and_middle():
    axes = Axes((0, 10), (0.01, 1.0), log=True)
    assert axes.right(5) == pytest.approx((axes.right(0) + axes.right(10)) / 2)
    assert axes.up(0.1) == pytest.approx((axes.up(0.01) + axes.up(1)) / 2)
    assert axes.up(1) < axes.up(0.01)
    assert axes.right(99) == axes.right(10)
