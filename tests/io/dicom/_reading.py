"""Reading of the series of `make_series`, whole or refused."""

import numpy as np
import pytest

from ct_vae.errors import CtVaeError
from ct_vae.io import read_volume
from tests.io._series import assert_nothing_identifying, hounsfield


def refusal(folder):
    """The message of a refused series, which identifies nobody."""
    with pytest.raises(CtVaeError) as caught:
        read_volume(folder)
    assert_nothing_identifying(str(caught.value))
    return str(caught.value)


def check(folder):
    """Check that the series is read with its values, and return its volume."""
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    return volume
