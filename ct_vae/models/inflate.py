"""Conversion of 2-D networks to 3-D ones, and of several image channels to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import torch

from ct_vae.config.model import ModelConfig
from ct_vae.errors import ConfigError
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.build import build_untrained

Inflation = Literal["central", "averaged"]
_IN, _OUT = "encoder.conv_in.weight", "decoder.conv_out"


def inflate(
    model_2d: AutoencoderKL,
    how: Inflation,
    depth_stride: Literal[1, 2] = 1,
    image_channels: int | None = None,
) -> AutoencoderKL:
    """Inflate a 2-D network to 3-D; its plane becomes the first two axes (Carreira 2017).

    ``central`` places each 2-D kernel in the middle slice of a 3-D kernel: slices are processed
    independently, except in group normalization and attention, which act on the whole volume. A
    single slice gives the result of the 2-D network. ``averaged`` distributes each kernel over
    three slices: a volume that is constant along the last axis gives the result of its slice,
    except near the ends of that axis, or everywhere with ``padding_mode="replicate"``.

    Args:
        model_2d: 2-D network, left unchanged.
        how: Inflation method: ``central`` or ``averaged``.
        depth_stride: Stride along the last axis at each downsampling; defaults to 1. 2 requires
            ``averaged``, since slices processed independently would be dropped.
        image_channels: 1 merges the image channels as `merge_image_channels` does; optional.

    Returns:
        3-D network in evaluation mode, with the dtype and the scaling factor of the 2-D network.

    Raises:
        ConfigError: If the network is not 2-D, or if arguments are invalid.
    """
    config = model_2d.config
    if config.spatial_dims != 2:
        raise ConfigError(
            f"only 2-D networks can be inflated, this one has {config.spatial_dims} dimensions"
        )
    if how not in ("central", "averaged"):
        raise ConfigError(f"inflation is central or averaged, got {how!r}")
    _refuse_patches(config, "inflated")
    if depth_stride not in (1, 2) or (how == "central" and depth_stride == 2):
        raise ConfigError(
            f"depth_stride {depth_stride} is not possible with {how!r} inflation",
            "it is 1, or 2 with 'averaged'",
        )
    steps = tuple((*step, depth_stride) for step in config.level_strides)
    volumetric = config.model_copy(update={"spatial_dims": 3, "strides": steps})
    state = {name: _deep(tensor, how) for name, tensor in model_2d.state_dict().items()}
    result = _built(volumetric, state, model_2d)
    return result if image_channels is None else merge_image_channels(result, image_channels)


def merge_image_channels(model: AutoencoderKL, image_channels: int = 1) -> AutoencoderKL:
    """Convert a network of several image channels to one that is equivalent for gray images.

    The first kernel is summed over its input channels and the last one averaged over its output
    channels, as if outputs were averaged.

    Args:
        model: Network, left unchanged.
        image_channels: Number of channels of the result; must be 1.

    Returns:
        Network in evaluation mode, with the dtype and the scaling factor of the given one.

    Raises:
        ConfigError: If the outputs cannot be averaged because an activation follows.
    """
    if image_channels != 1:
        raise ConfigError(f"image channels are merged into 1, not {image_channels}")
    config = model.config
    if config.in_channels == config.out_channels == 1:
        raise ConfigError("the network already has one image channel", "leave the merging out")
    _refuse_patches(config, "merged into one image channel")
    if config.out_channels > 1 and (config.tanh_out or config.output_activation == "sigmoid"):
        curve = "the tangent of tanh_out" if config.tanh_out else "a sigmoid (output_activation)"
        raise ConfigError(f"the outputs cannot be merged before {curve}")
    single = config.model_copy(update={"in_channels": 1, "out_channels": 1})
    state = dict(model.state_dict())
    state[_IN] = state[_IN].sum(1, keepdim=True)
    for name in (f"{_OUT}.weight", f"{_OUT}.bias"):
        state[name] = state[name].mean(0, keepdim=True)
    return _built(single, state, model)


def _refuse_patches(config: ModelConfig, what: str) -> None:
    if max(config.patch_sides) > 1 or config.linear_skip or config.refine_channels:
        raise ConfigError(
            f"a network with patch_size {list(config.patch_sides)}, linear_skip or refine_channels "
            f"cannot be {what}",
            "train it with the dimensions and channels that you need",
        )


def _deep(tensor: torch.Tensor, how: Inflation) -> torch.Tensor:
    """Convert a 2-D kernel, 1 or 3 wide, to 3-D; other tensors are returned unchanged."""
    if tensor.ndim != 4 or tensor.shape[-1] == 1:
        return tensor[..., None] if tensor.ndim == 4 else tensor
    if how == "averaged":
        return (tensor / 3)[..., None].repeat(1, 1, 1, 1, 3)
    empty = torch.zeros_like(tensor)
    return torch.stack((empty, tensor, empty), dim=-1)


def _built(
    config: ModelConfig, state: Mapping[str, torch.Tensor], source: AutoencoderKL
) -> AutoencoderKL:
    first = source.get_parameter(_IN)
    model = cast(AutoencoderKL, build_untrained(config)).to(first.device, first.dtype)
    model.load_state_dict(state)
    model.scaling_factor, model.shift_factor = source.scaling_factor, source.shift_factor
    return model.eval()
