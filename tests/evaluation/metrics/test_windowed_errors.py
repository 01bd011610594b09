import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.evaluation.metrics.error_tally import FloatTally, WholeTally
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.metrics.windowed_errors import Where, tally_errors
from ct_vae.evaluation.windows import Window
from ct_vae.masks import Mask
from tests.evaluation._cases import noisy, random_volume, volume_of

WINDOWS = (Window("a", 400, 40), Window("half", 301, 40), Window("odd", 400.3, 40))
SHAPE = (5, 6, 4)


def plainly(pair, window, place):
    a, b = (v.voxels.astype(float) for v in (pair.reference, pair.reconstruction))
    mask = place.mask.voxels
    if place.in_window:
        mask = mask & (a >= window.low) & (a <= window.high)
        return (b - a)[mask]
    return (b.clip(window.low, window.high) - a.clip(window.low, window.high))[mask]


@settings(max_examples=15)
@given(st.integers(0, 99), st.sampled_from([np.int16, np.float32]), st.integers(1, 200))
def test_each_window_and_place_is_counted_as_plainly_whatever_the_slab(seed, dtype, slab):
    reference = volume_of(random_volume(seed, SHAPE).voxels // 4)
    pair = Pair(reference, volume_of(noisy(reference, seed).voxels.astype(dtype)))
    some = np.random.default_rng(seed).random(SHAPE) < 0.5
    masks = (Mask("all", np.ones(SHAPE, bool)), Mask("some", some), Mask("none", some & ~some))
    places = [Where(mask, inner) for mask in masks for inner in (False, True)]
    for window, tallies in zip(WINDOWS, tally_errors(pair, WINDOWS, places, slab), strict=True):
        for place, tally in zip(places, tallies, strict=True):
            errors = plainly(pair, window, place)
            assert tally.n == errors.size
            if tally.n:
                found = tally.numbers(())
                expected = np.abs(errors).mean(), np.sqrt(np.square(errors).mean()), errors.mean()
                assert (found.mae, found.rmse, found.bias) == pytest.approx(expected, abs=1e-9)


def test_whole_numbers_are_counted_exactly_where_the_window_allows():
    reference = random_volume()
    everywhere = [Where(Mask("all", np.ones(reference.grid.shape, bool)))]
    pair = Pair(reference, noisy(reference))
    kinds = [type(tally) for (tally,) in tally_errors(pair, WINDOWS, everywhere, 99)]
    assert kinds == [WholeTally, WholeTally, FloatTally]


def test_windows_beyond_int16_clip_nothing():
    extremes = volume_of(np.array([[[-32768, 32767]]], np.int16))
    pair = Pair(extremes, volume_of(extremes.voxels[..., ::-1].copy()))
    everywhere = [Where(Mask("all", np.ones((1, 1, 2), bool)))]
    for width in (200_000, 200_001, 10**12):
        ((tally,),) = tally_errors(pair, [Window("wide", width, 0)], everywhere, 99)
        assert tally.numbers(()).mae == 65_535


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value):
    voxels = np.zeros(SHAPE, np.float32)
    voxels[-1, -1, -1] = value
    everywhere = [Where(Mask("all", np.ones(SHAPE, bool)))]
    good = volume_of(np.zeros(SHAPE, np.float32))
    for pair in (Pair(good, volume_of(voxels)), Pair(volume_of(voxels), good)):
        with pytest.raises(InputError, match="not finite"):
            tally_errors(pair, WINDOWS, everywhere, 7)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_both_ends_of_a_window_lie_in_it(dtype):
    reference = volume_of(np.array([[[-161, -160, 240, 241]]], dtype))
    pair = Pair(reference, volume_of(reference.voxels + dtype(5)))
    inside = [Where(Mask("all", np.ones((1, 1, 4), bool)), in_window=True)]
    ((tally,),) = tally_errors(pair, WINDOWS[:1], inside, 99)
    assert (tally.n, tally.numbers(()).bias) == (2, 5)
