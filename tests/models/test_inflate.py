import pytest
import torch

from ct_vae.errors import ConfigError
from ct_vae.models.inflate import inflate, merge_image_channels
from tests._asserts import assert_close
from tests.models._small import noise, small_model

PER_VOXEL = {"norm": "rms", "norm_groups": None, "mid_attn": False}
FLAT = {"spatial_dims": 2, "ch_mult": (1, 2, 2)}


def flat(**numbers):
    return small_model(**(FLAT | numbers))


def both(model, x, z):
    with torch.no_grad():
        return model.moments(x), model.decode(z)


def constant(x, count):
    return x[..., None].repeat_interleave(count, -1)


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"attn_resolutions": (2,), "upsample_mode": "linear"},
        {"norm": "layer", "norm_groups": None, "strides": ((2, 1), (2, 2))},
        {"double_z": False, "encoder_mid": False, "head_activation": False, "decoder_blocks": 1},
    ],
)
def test_central_gives_a_single_slice_what_the_plane_gives(numbers):
    plane = flat(**numbers)
    plane.scaling_factor = 0.5
    volume = inflate(plane, "central")
    factor = (*plane.factor, 1)
    assert (volume.spatial_dims, volume.factor, volume.scaling_factor) == (3, factor, 0.5)
    x, z = noise(2, 1, 8, 12), noise(2, 4, 3, 2)
    for result, expected in zip(
        both(volume, x[..., None], z[..., None]), both(plane, x, z), strict=True
    ):
        assert_close(result[..., 0], expected, 1e-5)


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_central_treats_every_slice_alone_where_norms_do(norm):
    plane = flat(**(PER_VOXEL | {"norm": norm}))
    volume = inflate(plane, "central")
    x, z = noise(1, 1, 8, 8, 5), noise(1, 4, 2, 2, 5)
    moments, decoded = both(volume, x, z)
    for i in range(5):
        expected = both(plane, x[..., i], z[..., i])
        assert_close(moments[..., i], expected[0], 1e-5)
        assert_close(decoded[..., i], expected[1], 1e-5)


@pytest.mark.parametrize("depth_stride", [1, 2])
@pytest.mark.parametrize("numbers", [{}, {"attn_resolutions": (4,)}, PER_VOXEL])
def test_averaged_gives_a_constant_volume_what_its_slice_gives(numbers, depth_stride):
    plane = flat(padding_mode="replicate", **numbers)
    volume = inflate(plane, "averaged", depth_stride)
    deep = 4 if depth_stride == 2 else 1
    assert volume.factor == (4, 4, deep)
    x, z = noise(1, 1, 8, 8), noise(1, 4, 2, 2)
    moments, decoded = both(volume, constant(x, 8), constant(z, 8 // deep))
    expected = both(plane, x, z)
    assert_close(moments, constant(expected[0], 8 // deep), 1e-5)
    assert_close(decoded, constant(expected[1], 8), 1e-5)


def test_averaged_with_zeros_beyond_the_ends_agrees_away_from_them():
    plane = flat(**PER_VOXEL, ch_mult=(1, 2))
    volume = inflate(plane, "averaged")
    x, z = noise(1, 1, 8, 8), noise(1, 4, 4, 4)
    # Each of up to 12 convolutions reaches one slice further.
    moments, decoded = both(volume, constant(x, 31), constant(z, 31))
    expected = both(plane, x, z)
    assert_close(moments[..., 15], expected[0], 1e-5)
    assert_close(decoded[..., 15], expected[1], 1e-5)
    assert not torch.allclose(moments[..., 0], expected[0], rtol=1e-3)


@pytest.mark.parametrize("inflated", [False, True])
def test_merged_channels_are_the_gray_value_thrice_and_the_mean(inflated):
    model = flat(in_channels=3, out_channels=3)
    one = inflate(model, "central", image_channels=1) if inflated else merge_image_channels(model)
    assert (one.in_channels, one.out_channels) == (1, 1)
    x, z = noise(2, 1, 8, 8), noise(2, 4, 2, 2)
    end = (..., None) if inflated else (...,)
    moments, decoded = both(one, x[end], z[end])
    expected = both(model, x.repeat(1, 3, 1, 1), z)
    assert_close(moments, expected[0][end], 1e-5)
    assert_close(decoded, expected[1].mean(1, keepdim=True)[end], 1e-5)


@pytest.mark.parametrize("how", ["central", "averaged"])
def test_the_given_network_and_its_precision_stay(how):
    plane = flat(in_channels=3).double().train()
    before = {name: tensor.clone() for name, tensor in plane.state_dict().items()}
    volume = inflate(plane, how, image_channels=1)
    assert volume.quant_conv.weight.dtype == torch.float64
    assert not volume.training
    assert plane.training
    for name, tensor in plane.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: inflate(small_model(), "central"), "only 2-D networks"),
        (lambda: inflate(flat(), "best"), "central or averaged"),
        (lambda: inflate(flat(), "central", 2), "depth_stride 2 is not possible with 'central'"),
        (lambda: inflate(flat(), "averaged", 3), "depth_stride 3"),
        (lambda: merge_image_channels(flat(), 3), "merged into 1, not 3"),
        (lambda: merge_image_channels(flat(tanh_out=True, out_channels=3)), "the tangent of tanh"),
        (
            lambda: merge_image_channels(flat(output_activation="sigmoid", out_channels=2)),
            r"before a sigmoid \(output_activation\)",
        ),
    ],
)
def test_impossible_requests_are_reported(act, words):
    with pytest.raises(ConfigError, match=words):
        act()


@pytest.mark.parametrize("curve", [{"output_activation": "sigmoid"}, {"tanh_out": True}])
def test_what_follows_the_last_convolution_is_kept(curve):
    plane = flat(in_channels=3, **curve)
    volume, merged = inflate(plane, "central"), merge_image_channels(plane)
    z = noise(1, 4, 2, 2)
    expected = plane.decode(z).detach()
    assert_close(volume.decode(z[..., None]).detach()[..., 0], expected, 1e-5)
    assert torch.equal(merged.decode(z), plane.decode(z))
