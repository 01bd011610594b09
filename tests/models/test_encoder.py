import pytest
import torch

from tests._asserts import assert_close
from tests.models._shapes import NUMBERS
from tests.models._small import noise, small_model


def test_nothing_is_resampled_beyond_the_coarsest_level():
    names = {name for name, _ in small_model(**NUMBERS).named_parameters()}
    resampled = {n.rsplit(".", 2)[0] for n in names if ".upsample." in n or ".downsample." in n}
    assert resampled == {
        "encoder.down.0.downsample",
        "encoder.down.1.downsample",
        "decoder.up.1.upsample",
        "decoder.up.2.upsample",
    }


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_encoder_divides_each_side_by_the_factor(dims):
    model = small_model(spatial_dims=dims, strides=((2,) * (dims - 1) + (1,),) if dims > 1 else 2)
    with torch.no_grad():
        features = model.encoder(noise(2, 1, *[8] * dims))
    assert features.shape == (2, 8, *[8 // f for f in model.factor])


def test_a_linear_skip_adds_the_transform_of_the_image():
    encoder = small_model(ch_mult=(1,), patch_size=2, linear_skip=True).encoder
    x = noise(1, 1, 8, 8, 8)
    with torch.no_grad():
        whole, skipped = encoder(x), encoder.skip(x)
        encoder.skip = None
        rest = encoder(x)
    assert_close(whole, skipped + rest, 1e-6)
