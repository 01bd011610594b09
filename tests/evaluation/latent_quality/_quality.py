"""Measurements of a latent that several tests share."""

import numpy as np

from ct_vae.evaluation.latent_quality.result import (
    ChannelStatistics,
    Equivariance,
    LatentQuality,
)


def quality(channels):
    spectrum = tuple(float(2.0**-k) for k in range(8))
    one = ChannelStatistics(0.0, 1.0, None, None, spectrum, 0.1)
    return LatentQuality(
        voxels=(96, 96, 96),
        channels=(one,) * channels,
        frequencies=tuple((np.arange(8) + 0.5) / 16),
        correlation=tuple(map(tuple, np.eye(channels))),
        equivariance=(Equivariance("flip x", 0.2, 30.0, 20.0),),
        crop_error=0.1,
        crop_error_center=0.0,
    )
