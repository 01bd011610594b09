import math

import pytest

from ct_vae.training.reporting.duration import readable_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3569, "59 min"),
        (3571, "1 h 00 min"),
        (11100, "3 h 05 min"),
        (24 * 3600, "1 d 00 h"),
        (2 * 86400 + 7 * 3600, "2 d 07 h"),
        (math.inf, "unknown"),
    ],
)
def test_durations_are_told_in_two_units_at_most(seconds, text):
    assert readable_duration(seconds) == text
