import pytest
import torch

from tests._asserts import assert_close
from tests.models._shapes import NUMBERS, seen_shapes
from tests.models._small import noise, small_model


def test_the_decoder_takes_the_strides_of_the_encoder_back_in_turn():
    model = small_model(**NUMBERS, strides=((2, 2, 1), (1, 2, 2)))
    shapes = seen_shapes(model, noise(1, 1, 16, 16, 16))
    assert shapes["decoder.up.2.upsample"][2:] == shapes["encoder.down.1.block.0"][2:] == (8, 8, 16)
    assert shapes["decoder.up.1.upsample"][2:] == (16, 16, 16)


@pytest.mark.parametrize("numbers", [{"tanh_out": True}, {"output_activation": "sigmoid"}])
def test_the_raw_output_is_that_before_the_activation(numbers):
    decoder, z = small_model(**numbers).decoder, noise(1, 4, 4, 4, 4)
    curve = torch.tanh if "tanh_out" in numbers else torch.sigmoid
    with torch.no_grad():
        assert torch.equal(decoder(z), curve(decoder.raw(z)))


def test_a_linear_skip_adds_the_transform_of_the_latent():
    decoder = small_model(ch_mult=(1,), patch_size=2, linear_skip=True).decoder
    z = noise(1, 4, 4, 4, 4)
    with torch.no_grad():
        whole, skipped = decoder.raw(z), decoder.skip(z)
        decoder.skip = None
        rest = decoder.raw(z)
    assert_close(whole, skipped + rest, 1e-6)
