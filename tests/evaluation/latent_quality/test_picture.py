import io

import numpy as np
import pytest
from matplotlib import image

from ct_vae.evaluation.latent_quality.picture import write_latent_picture
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


@pytest.mark.parametrize("channels", [1, 4, 16])
def test_the_picture_has_the_same_size_for_any_number_of_channels(tmp_path, channels):
    write_latent_picture(quality(channels), tmp_path / "latent.png", title="case_0001")
    pixels = image.imread(io.BytesIO((tmp_path / "latent.png").read_bytes()))
    assert pixels.shape[:2] == (462, 1430)
    assert pixels[..., :3].std() > 0.05
