"""Small models of the whole family, and their exact passage beside the whole one."""

import warnings
from dataclasses import replace

import torch
from torch import nn

from ct_vae.inference.streaming.executor import run_exact
from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.schedule import schedule
from ct_vae.inference.streaming.slab_plan import plan_streams
from ct_vae.models import VQVAE, AutoencoderKL, MagvitVQVAE

_TINY = {"base_ch": 4, "ch_mult": (1, 2, 2), "num_res_blocks": 1}
_PLAIN = {"mid_attn": False}
MODELS = {
    "kl group attention": (AutoencoderKL, {"attn_resolutions": (2,), "norm_groups": 2}),
    "kl group alone": (AutoencoderKL, {**_PLAIN, "tanh_out": True, "dropout": 0.5}),
    "kl f8 rms attention": (AutoencoderKL, {"norm": "rms", "ch_mult": (1, 1, 2, 2)}),
    "kl layer, no middle": (
        AutoencoderKL,
        {"norm": "layer", "encoder_mid": False, "decoder_mid": False, "head_activation": False},
    ),
    "kl strides": (AutoencoderKL, {"strides": ((1, 2, 2), (2, 1, 2)), "norm": "rms"}),
    "kl linear": (AutoencoderKL, {**_PLAIN, "upsample_mode": "linear"}),
    "kl linear strides": (
        AutoencoderKL,
        {**_PLAIN, "upsample_mode": "linear", "strides": ((1, 2, 2), (2, 2, 1)), "norm": "rms"},
    ),
    "kl replicate": (AutoencoderKL, {**_PLAIN, "padding_mode": "replicate", "norm": "rms"}),
    "kl reflect": (AutoencoderKL, {**_PLAIN, "padding_mode": "reflect"}),
    "kl circular": (AutoencoderKL, {**_PLAIN, "padding_mode": "circular", "norm": "rms"}),
    "kl patch": (
        AutoencoderKL,
        {
            **_PLAIN,
            "ch_mult": (2,),
            "patch_size": 4,
            "linear_skip": True,
            "refine_channels": 3,
            "inner_norm": False,
            "norm": "layer",
        },
    ),
    "kl patch group, levels": (
        AutoencoderKL,
        {"ch_mult": (2, 3), "patch_size": (2, 1, 4), "linear_skip": True, "norm_groups": 2},
    ),
    "vq patch": (
        VQVAE,
        {"ch_mult": (2,), "patch_size": (4, 4, 2), "linear_skip": True, "quantizer": "fsq"}
        | {"norm": "rms", "refine_channels": 2, "padding_mode": "replicate"},
    ),
    "vq ema": (VQVAE, {"codebook_size": 16, "embed_dim": 4}),
    "vq fsq": (VQVAE, {"quantizer": "fsq", "norm": "layer", **_PLAIN}),
    "vq lfq": (VQVAE, {"quantizer": "lfq", "embed_dim": 6, **_PLAIN}),
    "magvit group": (MagvitVQVAE, {}),
    "magvit blur circular": (
        MagvitVQVAE,
        {**_PLAIN, "downsample_mode": "blur", "padding_mode": "circular"},
    ),
    "magvit blur reflect": (
        MagvitVQVAE,
        {**_PLAIN, "downsample_mode": "blur", "padding_mode": "reflect", "norm": "rms"},
    ),
    "magvit causal": (MagvitVQVAE, {**_PLAIN, "norm": "rms", "causal_axis": 0}),
    "magvit blur causal": (
        MagvitVQVAE,
        {
            **_PLAIN,
            "norm": "layer",
            "causal_axis": 0,
            "downsample_mode": "blur",
            "padding_mode": "replicate",
        },
    ),
    "magvit causal across, strides": (
        MagvitVQVAE,
        {**_PLAIN, "norm": "rms", "causal_axis": 1, "strides": ((1, 2, 2), (2, 1, 2))},
    ),
}


def tiny(name, dtype=torch.float64):
    """A model in evaluation mode whose every parameter says something."""
    kind, choices = MODELS[name]
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = kind(**_TINY | choices).eval()
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.to(dtype, memory_format=torch.channels_last_3d)


def halves(model):
    return (
        nn.Sequential(model.encoder, model.quant_conv),
        nn.Sequential(model.post_quant_conv, model.decoder),
    )


def given(model, sides, decodes, dtype=torch.float64):
    """What one half takes for a volume with ``sides``."""
    generator = torch.Generator().manual_seed(1)
    if decodes:
        sides = [n // f for n, f in zip(sides, model.factor, strict=True)]
        return torch.randn(1, model.latent_channels, *sides, generator=generator).to(dtype)
    # Far from zero, where careless sums of squares lose their digits.
    return torch.randn(1, model.in_channels, *sides, generator=generator).to(dtype) + 3


def run(module, x, slab_bytes, kind="device", cuts=frozenset(), device=None):
    """The exact result, in slabs, buffers and cuts of choice."""
    steps = trace_operators(module, tuple(x.shape[1:]), x.dtype)
    plan = plan_streams(steps, 2**40, slab_bytes=slab_bytes)
    cuts = frozenset(i for i in cuts if 0 < i < len(steps) - 1)
    size = sum(step.bytes for step in steps) if kind == "disk" else 0
    kinds = dict.fromkeys(schedule(steps, cuts).buffered[:-1], kind)
    plan = replace(plan, kinds=kinds, cuts=cuts, disk_bytes=size)
    result = torch.full((1, *steps[-1].shape), torch.nan, dtype=x.dtype)
    starts = []

    def sink(start, slab):
        starts.append(start)
        result[:, :, start : start + slab.shape[2]] = slab

    with torch.inference_mode():
        run_exact(steps, x, plan, device or x.device, sink)
    assert starts == sorted(set(starts))
    return result
