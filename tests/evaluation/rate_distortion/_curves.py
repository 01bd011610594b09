"""Curves with known shapes."""

import numpy as np

from ct_vae.evaluation.rate_distortion.curve import Curve, RatePoint


def power_curve(name, scale, exponent, rates):
    """Errors ``scale * rate ** -exponent`` in both regions."""
    points = (
        RatePoint(float(k), float(r), *2 * (float(scale * r**-exponent),))
        for k, r in enumerate(rates)
    )
    return Curve(name, tuple(points))


RATES = np.geomspace(0.01, 1, 7)
