"""From a network of this package to the weights of a peer."""

from __future__ import annotations

from typing import Any

import torch

from ct_vae.errors import ConfigError
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.convert.peer import Form, refuse_limits
from ct_vae.models.convert.peers import PEERS


def export_weights(
    model: AutoencoderKL, form: Form
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights as a peer keeps them, and its configuration.

    What was imported comes back unchanged, bit for bit, by the names that the peer has today;
    convolutions around the latent (diffusers) and last attention layers (MONAI) that change
    nothing are left out.

    Args:
        model: Is left as it is.
        form: Of the result: ``compvis``, ``diffusers``, ``monai`` or ``maisi``.

    Returns:
        Tensors on the CPU by name, and what the peer's constructor or ``config.json`` takes.

    Raises:
        ConfigError: If the peer has no such network, with everything that it does not have.
    """
    if form not in PEERS:
        raise ConfigError(f"form is one of {', '.join(PEERS)}, got {form!r}")
    if not isinstance(model, AutoencoderKL):
        raise ConfigError(f"only continuous autoencoders are exported, not {type(model).__name__}")
    peer, config = PEERS[form], model.config
    refuse_limits(peer, config)
    unified = {}
    for own, tensor in model.state_dict().items():
        values = tensor.detach().cpu().clone()
        theirs = values.reshape(values.shape[:2]) if peer.linear(own) else values
        unified[peer.name(own, config)] = theirs
    state = {n: t.contiguous() for n, t in peer.dismantle(unified).items()}
    return state, peer.describe(config, state, model.scaling_factor)
