import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.evaluation.rounding import stored
from tests.evaluation._cases import volume_of


def test_halves_round_to_even_and_whole_numbers_stay():
    volume = volume_of(np.array([[[0.5, 1.5, -2.5, 32767.0]]], np.float32))
    assert stored(volume).voxels.ravel().tolist() == [0, 2, -2, 32767]
    whole = volume_of(np.zeros((2, 2, 2), np.int16))
    assert stored(whole) is whole


@pytest.mark.parametrize("value", [np.nan, np.inf, -32769.0, 32768.0])
def test_what_int16_does_not_hold_is_refused(value):
    with pytest.raises(InputError, match="beyond int16"):
        stored(volume_of(np.array([[[0.0, value]]], np.float32)))
