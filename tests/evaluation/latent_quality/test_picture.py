import io

import pytest
from matplotlib import image

from ct_vae.evaluation.latent_quality.picture import write_latent_picture
from tests.evaluation.latent_quality._quality import quality


@pytest.mark.parametrize("channels", [1, 4, 16])
def test_the_picture_has_the_same_size_for_any_number_of_channels(tmp_path, channels):
    write_latent_picture(quality(channels), tmp_path / "latent.png", title="case_0001")
    pixels = image.imread(io.BytesIO((tmp_path / "latent.png").read_bytes()))
    assert pixels.shape[:2] == (462, 1430)
    assert pixels[..., :3].std() > 0.05
