"""From the weights of a peer to a network of this package."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch

from ct_vae.config.model import ModelConfig
from ct_vae.errors import WeightsError
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.build import build_untrained
from ct_vae.models.convert.architecture import State, groups
from ct_vae.models.convert.checkpoint import autoencoder_part, recognize
from ct_vae.models.convert.peer import Account, Form, Peer, latent_scale
from ct_vae.models.convert.peers import PEERS

_SHOWN = 3
_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Imported:
    """A peer's network as one of this package.

    Attributes:
        model: In evaluation mode, on the CPU; in float32, or in float64 where the weights are.
        config: Its architecture.
        form: The format that was recognized.
        statements: What was found, what left aside, and what assumed, in sentences.
    """

    model: AutoencoderKL
    config: ModelConfig
    form: Form
    statements: tuple[str, ...]


def import_weights(
    state_dict: Mapping[str, torch.Tensor], config: Mapping[str, Any] | None = None
) -> AutoencoderKL:
    """A network of this package from weights of CompVis, diffusers, MONAI or MAISI.

    The architecture is read from the weights. What they cannot tell comes from ``config`` or from
    what the format fixes, and is logged; `interpret` returns it.

    Args:
        state_dict: Tensors by the peer's names; a whole Stable Diffusion checkpoint will do.
        config: The peer's own: ``config.json`` of diffusers, arguments of MONAI's constructor,
            ``params`` of a CompVis autoencoder. Needed for all but CompVis, as only it tells the
            number of groups.

    Returns:
        In evaluation mode, on the CPU, with the peer's scaling factor if it is told.

    Raises:
        WeightsError: If the format is unknown, if tensors are missing, unexpected or of another
            shape, if weights and configuration contradict each other, or if this package has no
            such network.
    """
    imported = interpret(state_dict, config)
    for line in imported.statements:
        _log.info("%s", line)
    return imported.model


def interpret(
    state_dict: Mapping[str, torch.Tensor],
    config: Mapping[str, Any] | None = None,
    scale: float | None = None,
) -> Imported:
    """As `import_weights`, with an account of what was recognized and assumed.

    Args:
        state_dict: As `import_weights`.
        config: As `import_weights`.
        scale: Of the latent, where it is told beside the configuration; that one comes first.

    Raises:
        WeightsError: As `import_weights`.
    """
    account = Account()
    _refuse_strange(state_dict)
    bare, carried_scale = autoencoder_part(state_dict, account)
    peer = PEERS[recognize(bare, config or {})]
    account.lines.insert(0, f"format: {peer.title}")
    given = peer.flatten(config or {})
    state = peer.unify(bare, account)
    found = peer.read(state, given, account)
    model = _filled(peer, found, state)
    peer.compare(found, state, given)
    told = [value for value in (carried_scale, scale) if value is not None]
    if told:
        given.setdefault("scale_factor", told[0])
    model.scaling_factor = latent_scale(given, account)
    account.lines.insert(1, f"architecture: {_in_words(model, found)}")
    _tell_precision(state, account)
    return Imported(model, found, peer.form, tuple(account.lines))


def _filled(peer: Peer, config: ModelConfig, state: State) -> AutoencoderKL:
    """The network with the weights, of which none may be left over or missing."""
    # Weights that are about to be replaced are not drawn.
    with torch.device("meta"):
        model = cast(AutoencoderKL, build_untrained(config))
    own = model.state_dict()
    names = {name: peer.name(name, config) for name in own}
    shapes = {names[n]: _peer_shape(peer, n, tensor) for n, tensor in own.items()}
    _refuse_differences(peer, shapes, state)
    _refuse_values(state)
    double = any(tensor.dtype == torch.float64 for tensor in state.values())
    dtype = torch.float64 if double else torch.float32
    filled = {
        n: state[names[n]].detach().reshape(tensor.shape).to("cpu", dtype, copy=True).contiguous()
        for n, tensor in own.items()
    }
    model.load_state_dict(filled, assign=True)
    return model.eval()


def _peer_shape(peer: Peer, name: str, tensor: torch.Tensor) -> tuple[int, ...]:
    shape = tuple(tensor.shape)
    return shape[:2] if peer.linear(name) else shape


def _refuse_differences(peer: Peer, shapes: Mapping[str, tuple[int, ...]], state: State) -> None:
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {shapes[name]}"
        for name in sorted(shapes.keys() & state.keys())
        if _trimmed(tuple(state[name].shape), shapes[name]) != shapes[name]
    ]
    problems = {
        "missing": sorted(shapes.keys() - state.keys()),
        "unexpected": sorted(state.keys() - shapes.keys()),
        "of another shape": misshapen,
    }
    told = [
        f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for kind, names in problems.items()
        if names
    ]
    if told:
        raise WeightsError(
            f"the weights do not fit the {peer.title} network that they describe: {'; '.join(told)}"
        )


def _refuse_values(state: State) -> None:
    """Refuse integers, which need a scale that is not read, and what is no number."""
    for name, tensor in state.items():
        if tensor.dtype not in _PRECISIONS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise WeightsError(f"{name} holds {kind}: quantized weights are not read")
        if not tensor.isfinite().all():
            raise WeightsError(f"{name} holds infinities or what is no number: damaged weights")


def _trimmed(shape: tuple[int, ...], expected: tuple[int, ...]) -> tuple[int, ...]:
    """A linear layer may also be stored as a 1-wide convolution."""
    return shape[:2] if len(expected) == 2 and set(shape[2:]) <= {1} else shape


def _refuse_strange(state: State) -> None:
    strange = [
        name
        for name, tensor in state.items()
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor)
    ]
    if strange:
        raise WeightsError(f"not a mapping of names to tensors: {str(strange[0])[:80]!r}")


def _in_words(model: AutoencoderKL, config: ModelConfig) -> str:
    widths = "/".join(map(str, config.widths))
    middle = {
        (True, True): "a middle",
        (True, False): "a middle in the encoder only",
        (False, True): "a middle in the decoder only",
        (False, False): "no middle",
    }[config.encoder_mid, config.decoder_mid]
    attention = f"attention at factors {config.attn_resolutions}" if config.attn_resolutions else ""
    parts = [
        f"{config.spatial_dims}-D, {config.in_channels} to {config.out_channels} image channels",
        f"widths {widths}, {groups(config)} groups",
        f"{config.num_res_blocks} blocks per level",
        middle + (" with attention" if config.mid_attn else ""),
        attention,
        f"factor {max(model.factor)}, {config.embed_dim} latent channels",
        f"{sum(p.numel() for p in model.parameters()):,} parameters",
    ]
    return ", ".join(part for part in parts if part)


def _tell_precision(state: State, account: Account) -> None:
    kinds = {str(t.dtype).removeprefix("torch.") for t in state.values()}
    other = sorted(kinds - {"float32", "float64"})
    if other:
        account.say(f"read: weights stored as {', '.join(other)}; computed with in float32")
