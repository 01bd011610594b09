import numpy as np

from ct_vae.phantoms.shapes import smooth_max


def test_smooth_max_is_a_maximum_away_from_edges():
    a, b = np.float32([0, 10, 5]), np.float32([10, 0, 5])
    np.testing.assert_allclose(smooth_max(a, b, mm=4.0), [10, 10, 6])
