"""Export of a network to the weights of another format."""

from __future__ import annotations

from typing import Any

import torch

from ct_vae.convert_weights.checkpoint_format import Form, refuse_limits
from ct_vae.convert_weights.checkpoint_formats import FORMATS
from ct_vae.errors import ConfigError
from ct_vae.models.autoencoder_kl import AutoencoderKL


def export_weights(
    model: AutoencoderKL, form: Form
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Convert weights to another format, together with its configuration.

    Imported weights are exported unchanged, bit for bit, with the current names of the format.
    Identity convolutions around the latent (diffusers) and identity attention projections (MONAI)
    are omitted.

    Args:
        model: Autoencoder, left unchanged.
        form: Format of the result: ``compvis``, ``diffusers``, ``monai`` or ``maisi``.

    Returns:
        Tensors on the CPU by name, and the arguments of the format's constructor or its
        ``config.json``.

    Raises:
        ConfigError: If the format has no such network; the message lists all differences.
    """
    if form not in FORMATS:
        raise ConfigError(f"form is one of {', '.join(FORMATS)}, got {form!r}")
    if not isinstance(model, AutoencoderKL):
        raise ConfigError(
            f"only continuous autoencoders can be exported, not {type(model).__name__}"
        )
    fmt, config = FORMATS[form], model.config
    refuse_limits(fmt, config)
    canonical = {}
    for own, tensor in model.state_dict().items():
        values = tensor.detach().cpu().clone()
        theirs = values.reshape(values.shape[:2]) if fmt.linear(own) else values
        canonical[fmt.name(own, config)] = theirs
    state = {n: t.contiguous() for n, t in fmt.from_canonical(canonical).items()}
    settings = fmt.describe(config, state, model.scaling_factor)
    if form == "diffusers" and model.shift_factor:
        settings["shift_factor"] = model.shift_factor
    return state, settings
