"""Series with slices that are not evenly spaced."""

import numpy as np
import pytest

from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions, read_volume
from tests.io._series import STEP_MM, assert_nothing_identifying, write_series


def refusal(folder, slices, options=None):
    with pytest.raises(CtVaeError) as caught:
        read_volume(write_series(folder, slices), options)
    assert_nothing_identifying(str(caught.value))
    return str(caught.value)


EVEN = np.arange(8) * STEP_MM


CONSENT = ReadOptions(resample_irregular=True)
