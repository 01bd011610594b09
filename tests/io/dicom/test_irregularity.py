import numpy as np
import pytest

from tests.io._series import ORIGIN, STEP_MM, make_series
from tests.io.dicom._irregular import refusal


@pytest.mark.parametrize("missing", [1, 4, 6])
def test_a_missing_slice_is_refused_with_the_places_next_to_it(tmp_path, missing):
    slices = make_series()
    del slices[missing]
    text = refusal(tmp_path, slices)
    low, high = (ORIGIN[2] + (missing + d) * STEP_MM for d in (-1, 1))
    assert f"a slice is missing: its slices are 2.5 mm apart, but not at {low:.3f} to " in text
    assert f"{high:.3f} mm" in text
    assert "--resample-irregular" in text


def test_several_gaps_are_counted(tmp_path):
    slices = [s for k, s in enumerate(make_series(16)) if k not in (4, 5, 10)]
    text = refusal(tmp_path, slices)
    assert text.count(" to ") == 2
    assert "3 slices are missing" in text


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([0, 2.5, 5, 7.5, 11, 12.5, 15, 17.5], "uneven (1.5 to 3.5 mm)"),
        ([0, 2.5, 5, 8, 11.7, 15.7, 19.4, 24], "uneven"),
        (np.cumsum(2.5 + 0.02 * np.arange(-15, 15)), "drifts from 2.22 to 2.78 mm"),
    ],
)
def test_uneven_spacing_is_refused(tmp_path, positions, message):
    text = refusal(tmp_path, make_series(len(positions), positions=positions))
    assert message in text
    assert "--resample-irregular" in text


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        ([0, 2.5, 5, 7.5, 10, 15, 20, 25], "2.5 mm from 100.000 to 110.000 mm, then 5 mm from"),
        ([0, 5, 10, 15, 17.5, 20, 22.5], "5 mm from 100.000 to 115.000 mm, then 2.5 mm from"),
        ([0, 1, 2, 3, 6, 9, 12, 13, 14, 15], "3 spacings: 1 mm from 100.000 to 103.000 mm, then"),
        ([0, 2, 4, 6, 8, 200, 202, 204, 206], "2 stacks of slices with up to 192 mm between them"),
    ],
)
def test_a_whole_series_of_two_spacings_or_stacks_is_missing_nothing(tmp_path, positions, words):
    text = refusal(tmp_path, make_series(len(positions), positions=positions))
    assert words in text
    assert "missing" not in text
    assert "export it again in full" not in text
