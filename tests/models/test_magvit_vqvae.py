import pytest
import torch

from ct_vae.blocks.norm import AdaptiveNormND
from ct_vae.errors import ConfigError
from ct_vae.models import MagvitVQVAE
from tests.models._family import make_member
from tests.models._small import noise


def causal(axis: int, **numbers):
    return make_member(
        "magvit-causal", "rms", causal_axis=axis, ch_mult=(1, 2, 2), resolution=16, **numbers
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("mode", ["conv", "blur"])
def test_nothing_later_is_seen_along_the_causal_axis(axis, mode):
    """Blocks of 4 voxels: the first two latent voxels depend on the first eight voxels alone."""
    model = causal(axis, downsample_mode=mode)
    x = noise(1, 1, 16, 16, 16)
    changed = x.clone()
    changed.narrow(2 + axis, 8, 8).add_(noise(1, 1, 16, 16, 16, seed=1).narrow(2 + axis, 8, 8))
    before, after = model.features(x), model.features(changed)
    early, late = ((axis_part(t, axis, 0), axis_part(t, axis, 2)) for t in (before, after))
    torch.testing.assert_close(early[0], late[0], rtol=0, atol=0)
    assert not torch.allclose(early[1], late[1])


def axis_part(t: torch.Tensor, axis: int, start: int) -> torch.Tensor:
    return t.narrow(2 + axis, start, 2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_decoder_is_causal_as_well(axis):
    model = causal(axis)
    z = noise(1, model.latent_channels, 4, 4, 4)
    changed = z.clone()
    changed.narrow(2 + axis, 2, 2).add_(1.0)
    before, after = model.decode(z), model.decode(changed)
    same = [t.narrow(2 + axis, 0, 8) for t in (before, after)]
    torch.testing.assert_close(*same, rtol=0, atol=0)
    assert not torch.allclose(before, after)


def test_without_a_causal_axis_the_future_is_seen():
    model = make_member("magvit", "rms", mid_attn=False, attn_resolutions=())
    x = noise(1, 1, 8, 8, 8)
    changed = x.clone()
    changed[:, :, 4:] += 1
    assert not torch.allclose(model.features(x)[:, :, 1], model.features(changed)[:, :, 1])


@pytest.mark.parametrize("member", ["magvit", "magvit-causal"])
def test_residual_blocks_have_no_offsets(member):
    names = [n for n, _ in make_member(member, "rms").named_parameters()]
    assert not [n for n in names if ".block" in n and ".conv" in n and n.endswith("bias")]
    assert [n for n in names if "conv_in." in n and n.endswith("bias")]


def test_every_level_of_the_decoder_is_modulated_voxel_by_voxel():
    """A latent voxel that changes moves its own surroundings and nothing else."""
    model = make_member("magvit", "rms", mid_attn=False, attn_resolutions=())
    assert all(isinstance(level.adapt, AdaptiveNormND) for level in model.decoder.up)
    z = noise(1, model.latent_channels, 24, 2, 2)
    changed = z.clone()
    changed[:, :, 0] += 1
    moved = (model.decode(z) - model.decode(changed)).abs().amax((0, 1, 3, 4))
    assert moved[0] > 0
    assert moved[-8:].max() == 0


def test_at_first_it_upsamples_like_the_nearest_voxel():
    """ICNR: the voxels that one becomes start equal."""
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="random weights"):
        model = MagvitVQVAE(base_ch=8, ch_mult=(1, 2), levels=(5, 5), mid_attn=False)
    up = model.decoder.up[1].upsample
    out = up(noise(1, 16, 3, 3, 3))
    blocks = out.unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2).flatten(-3)
    torch.testing.assert_close(blocks, blocks[..., :1].expand_as(blocks))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (
            {"causal_axis": 2, "norm": "rms"},
            "a model with causal_axis needs norm 'rms' or 'layer', mid_attn false",
        ),
        (
            {"causal_axis": 2, "mid_attn": False},
            "a model with causal_axis needs norm 'rms' or 'layer'",
        ),
        (
            {"causal_axis": 3, "norm": "rms", "mid_attn": False},
            "causal_axis: Input should be less than or equal to 2",
        ),
        ({"downsample_mode": "max"}, "downsample_mode: Input should be 'conv' or 'blur'"),
        ({"upsample_mode": "linear"}, "upsample_mode has no effect with latent_type 'magvit'"),
        ({"double_z": True}, "double_z is for latent_type 'kl'"),
        ({"codebook_size": 512}, "codebook_size 512 contradicts quantizer 'fsq'"),
    ],
)
def test_contradictions_are_refused(numbers, message):
    with pytest.raises(ConfigError, match=message):
        MagvitVQVAE(base_ch=8, ch_mult=(1, 2), **numbers)


def test_attention_of_middles_that_there_are_not_hinders_no_causal_network():
    model = make_member("magvit-causal", "rms", mid_attn=True, encoder_mid=False, decoder_mid=False)
    assert not [n for n, _ in model.named_parameters() if ".attn" in n]
