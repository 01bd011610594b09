"""Initialization of the model before the first step."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from ct_vae.blocks.patch import RefineND
from ct_vae.blocks.resblock import ResBlockND
from ct_vae.config.default_models import find_model
from ct_vae.config.model import ModelConfig
from ct_vae.config.run import RunConfig
from ct_vae.errors import WeightsError
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.build import build_untrained
from ct_vae.models.linear_code import BlockKLT, load_linear_code
from ct_vae.models.weights import load_weights, own_config

# Standard deviation exp(-3) of the posterior; 1 would dominate the small initial latents.
_FIRST_LOGVAR = -6.0
_TRUNK = ("encoder.conv_in.", "encoder.down.", "encoder.mid.", "decoder.mid.", "decoder.up.")


def initial_model(
    config: ModelConfig, seed: int, trunk_from: str | Path | None = None
) -> Autoencoder:
    """Create the initial model from a seed, or from weights in the configuration.

    Without weights, residual blocks start as the identity with a last convolution of zero (Goyal et
    al. 2017, section 5.1, for the last normalization), and the posterior starts narrow. Both speed
    up the first thousands of steps.

    Args:
        config: Section ``model`` of the configuration.
        seed: Seed of random weights.
        trunk_from: Model to copy the blocks from, see `TrainingConfig.trunk_from`.

    Raises:
        WeightsError: If the weights do not match the model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_untrained(config)
    if config.ckpt_path is None:
        for block in model.modules():
            if isinstance(block, ResBlockND | RefineND):
                _zero(block.conv2)
        if model.config.linear_skip:
            _leave_to_skip(model)
        if isinstance(model, AutoencoderKL):
            _narrow(model)
    if trunk_from is not None:
        _take_trunk(model, trunk_from)
    return model


def other_preprocessing(config: RunConfig) -> str | None:
    """Return a note if the weights that a run starts from saw other model units, or ``None``.

    Raises:
        WeightsError: If the weights are damaged.
    """
    if config.model.ckpt_path is None:
        return None
    own = own_config(find_model(config.model.ckpt_path))
    if own is None:
        return None
    before, now = own.preprocess, config.preprocess
    differing = [k for k in type(now).model_fields if getattr(before, k) != getattr(now, k)]
    if not differing:
        return None
    changes = ", ".join(f"{k} {getattr(before, k)} (here {getattr(now, k)})" for k in differing)
    return f"the weights of model.ckpt_path were trained with other preprocessing: {changes}"


def _take_trunk(model: Autoencoder, source: str | Path) -> None:
    """Copy all blocks of another model.

    Raises:
        WeightsError: If a block is missing or has another shape.
    """
    given = load_weights(find_model(source))
    state = model.state_dict()
    trunk = [name for name in state if name.startswith(_TRUNK)]
    wrong = [name for name in trunk if name not in given or given[name].shape != state[name].shape]
    if wrong:
        raise WeightsError(
            f"{source}: {len(wrong)} of {len(trunk)} tensors of the blocks are missing or have "
            f"another shape, the first is {wrong[0]}",
            "give training.trunk_from a model with the same patch_size, widths and blocks",
        )
    model.load_state_dict(state | {name: given[name] for name in trunk})


def start_linear_skip(model: Autoencoder, images: Iterable[torch.Tensor]) -> None:
    """Set the linear skip of a model to the KLT of images ``(B, C, *spatial)`` in model units."""
    klt = BlockKLT(model.config.factor)
    for batch in images:
        klt.add(batch)
    load_linear_code(model.encoder, model.decoder, klt.fit(model.config.embed_dim))


def freeze_encoder(model: Autoencoder) -> None:
    """Exclude everything that affects the latent of an image from training."""
    for part in model.encoding_parts().values():
        part.requires_grad_(False)


def set_train_mode(model: Autoencoder, freeze: str | None) -> None:
    """Set a model to training mode, except for a frozen ``encoder``, whose dropout is off."""
    model.train()
    if freeze == "encoder":
        for part in model.encoding_parts().values():
            part.eval()


@torch.no_grad()
def _narrow(model: AutoencoderKL) -> None:
    rows = slice(model.latent_channels, None)
    for name, parameter in model.quant_conv.named_parameters():
        parameter[rows] = _FIRST_LOGVAR if name == "bias" else 0.1 * parameter[rows]


@torch.no_grad()
def _leave_to_skip(model: Autoencoder) -> None:
    """Reduce a model to its linear code: set the network's output to 0, and do not mix channels."""
    for last in (model.encoder.conv_out, model.decoder.conv_out):
        _zero(last)
    for mixing in (model.quant_conv, model.post_quant_conv):
        weight = mixing.get_parameter("weight")
        weight.copy_(torch.eye(*weight.shape[:2]).reshape(weight.shape))
        mixing.get_parameter("bias").zero_()


@torch.no_grad()
def _zero(convolution: nn.Module) -> None:
    for parameter in convolution.parameters():
        parameter.zero_()
