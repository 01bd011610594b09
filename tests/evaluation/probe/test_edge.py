import numpy as np
import pytest
from scipy.special import erf

from ct_vae.evaluation.probe.edge import REACH_MM, falls_to, plateau_contrast, transfer_function


@pytest.mark.parametrize("spacing", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("contrast", [-1000, 60])
def test_bins_and_difference_are_divided_out(spacing, contrast):
    step, sigma = spacing / 8, 0.3 * spacing
    half = int(REACH_MM / step)
    fine = np.arange(-half, half + 1)[:, None] * step + (np.arange(100) - 49.5) / 100 * step
    profile = 40 + contrast * (0.5 - 0.5 * erf(fine / sigma / np.sqrt(2)).mean(axis=1))
    frequencies, transfer = transfer_function(profile, contrast, spacing)
    assert plateau_contrast(profile) == pytest.approx(contrast)
    assert transfer == pytest.approx(np.exp(-2 * (np.pi * sigma * frequencies) ** 2), abs=2e-3)
    assert frequencies[-1] == pytest.approx(1 / spacing, rel=0.02)


@pytest.mark.parametrize("share", [0.05, 0, -1])
def test_a_lost_or_inverted_edge_has_no_transfer(share):
    profile = np.where(np.arange(193) < 96, 100.0 * share, 0.0)
    assert transfer_function(profile, 100, 1.0) is None


def test_crossings_are_interpolated():
    frequencies, transfer = np.array([0.0, 1, 2, 3]), np.array([1, 0.8, 0.4, 0.6])
    assert falls_to(0.5, frequencies, transfer) == pytest.approx(1.75)
    assert falls_to(0.1, frequencies, transfer) is None
