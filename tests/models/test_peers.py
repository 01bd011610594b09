"""Numerics against diffusers, whose autoencoder is the reference that weights come from."""

import re

import pytest
import torch

from tests._asserts import assert_close
from tests.models._models import image, make

diffusers = pytest.importorskip("diffusers", reason="diffusers is the peer compared with")

RENAMES = [
    (
        r"^(encoder|decoder)\.mid\.block_([12])\.",
        lambda m: f"{m[1]}.mid_block.resnets.{int(m[2]) - 1}.",
    ),
    (r"^(encoder|decoder)\.mid\.attn_1\.", r"\1.mid_block.attentions.0."),
    (r"^encoder\.down\.(\d)\.block\.(\d)\.", r"encoder.down_blocks.\1.resnets.\2."),
    (r"^encoder\.down\.(\d)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.norm_out\.", ".conv_norm_out."),
]
ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def peer_name(name, levels):
    def up(match):
        return f"decoder.up_blocks.{levels - 1 - int(match[1])}."

    name = re.sub(r"^decoder\.up\.(\d)\.", up, name)
    name = re.sub(r"(up_blocks\.\d)\.block\.", r"\1.resnets.", name)
    name = re.sub(r"(up_blocks\.\d)\.upsample\.", r"\1.upsamplers.0.", name)
    for pattern, target in RENAMES:
        name = re.sub(pattern, target, name)
    return re.sub(
        r"(attentions\.0)\.(norm|q|k|v|proj_out)\.", lambda m: f"{m[1]}.{ATTENTION[m[2]]}.", name
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mults", [(1, 2), (1, 2, 4), (1, 1, 2, 2)])
def test_the_2d_model_is_that_of_diffusers(channels, mults):
    torch.manual_seed(1)
    peer = diffusers.AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(mults),
        up_block_types=("UpDecoderBlock2D",) * len(mults),
        block_out_channels=tuple(32 * m for m in mults),
        layers_per_block=2,
        latent_channels=4,
    ).eval()
    # Fresh normalisations are the identity; make them count.
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ours = make(
        spatial_dims=2,
        in_channels=channels,
        out_channels=channels,
        base_ch=32,
        ch_mult=mults,
        num_res_blocks=2,
        norm_groups=32,
    )
    theirs = peer.state_dict()
    names = {name: peer_name(name, len(mults)) for name in ours.state_dict()}
    assert sorted(names.values()) == sorted(theirs)
    ours.load_state_dict(
        {n: theirs[p].reshape(ours.state_dict()[n].shape) for n, p in names.items()}
    )
    x = image(2, channels, 32)
    with torch.inference_mode():
        posterior = peer.encode(x).latent_dist
        assert_close(ours.moments(x), posterior.parameters, 1e-5)
        assert_close(ours.decode(posterior.mean), peer.decode(posterior.mean).sample, 1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_3d_model_with_flat_kernels_is_the_2d_model_on_every_slice(axis):
    """The N-D blocks are one code: kernels that are zero off the middle slice act slice by slice.

    Without downsampling, so that no axis changes its side; normalisation is the identity here.
    """
    numbers = {"ch_mult": (1, 1)[:1], "mid_attn": False, "base_ch": 8}
    flat, solid = make(spatial_dims=2, **numbers), make(spatial_dims=3, **numbers)
    state = {}
    for name, weight in flat.state_dict().items():
        target = torch.zeros_like(solid.state_dict()[name])
        if weight.ndim < 4:
            target.copy_(weight)
        else:
            middle = target.shape[2 + axis] // 2
            target.select(2 + axis, middle).copy_(weight)
        state[name] = target
    solid.load_state_dict(state)
    x = image(2)
    volume = x.unsqueeze(2 + axis)
    result = solid.moments(volume).squeeze(2 + axis)
    assert_close(result, flat.moments(x), 1e-5)
