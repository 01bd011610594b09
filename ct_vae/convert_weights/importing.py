"""Import of weights of another format."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch

from ct_vae.config.model import ModelConfig
from ct_vae.convert_weights.architecture import State, groups
from ct_vae.convert_weights.checkpoint import autoencoder_part, recognize
from ct_vae.convert_weights.checkpoint_format import (
    CheckpointFormat,
    ConversionReport,
    Form,
    latent_scale,
    latent_shift,
)
from ct_vae.convert_weights.checkpoint_formats import FORMATS
from ct_vae.convert_weights.unsupported import refuse_unsupported
from ct_vae.errors import WeightsError
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.build import build_untrained

_SHOWN = 3
_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Imported:
    """Imported network.

    Attributes:
        model: Autoencoder in evaluation mode on the CPU, in float32, or in float64 if the weights
            are.
        config: Architecture of the network.
        form: Detected format.
        statements: Facts, ignored tensors and assumptions, one sentence each.
    """

    model: AutoencoderKL
    config: ModelConfig
    form: Form
    statements: tuple[str, ...]


def import_weights(
    state_dict: Mapping[str, torch.Tensor], config: Mapping[str, Any] | None = None
) -> AutoencoderKL:
    """Convert weights of CompVis, diffusers, MONAI or MAISI to a network of this package.

    The architecture is inferred from the weights. The remaining settings come from ``config`` or
    from conventions of the format and are logged; `interpret` returns them.

    Args:
        state_dict: Tensors by name, for instance of a whole Stable Diffusion checkpoint.
        config: Configuration of the source format: ``config.json`` of diffusers, arguments of
            MONAI's constructor, or ``params`` of a CompVis autoencoder. Required for all but
            CompVis, since the weights do not determine the number of groups.

    Returns:
        Autoencoder in evaluation mode, on the CPU, with the scaling factor of the source if known.

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
    """Convert weights as `import_weights` does, and report facts and assumptions.

    Args:
        state_dict: As in `import_weights`.
        config: As in `import_weights`.
        scale: Scaling factor of the latent from another source; the configuration takes precedence.

    Raises:
        WeightsError: As in `import_weights`.
    """
    report = ConversionReport()
    _refuse_strange(state_dict)
    refuse_unsupported(state_dict, config or {})
    bare, stored_scale = autoencoder_part(state_dict, report)
    fmt = FORMATS[recognize(bare, config or {})]
    report.lines.insert(0, f"format: {fmt.title}")
    given = fmt.flatten(config or {})
    state = fmt.to_canonical(bare, report)
    found = fmt.read(state, given, report)
    model = _filled(fmt, found, state)
    fmt.compare(found, state, given)
    told = [value for value in (stored_scale, scale) if value is not None]
    if told:
        given.setdefault("scale_factor", told[0])
    model.scaling_factor = latent_scale(given, report)
    model.shift_factor = latent_shift(given, report)
    report.lines.insert(1, f"architecture: {_in_words(model, found)}")
    _tell_precision(state, report)
    return Imported(model, found, fmt.form, tuple(report.lines))


def _filled(fmt: CheckpointFormat, config: ModelConfig, state: State) -> AutoencoderKL:
    """Create the network with the weights, which must match exactly."""
    # Skip the random initialization of weights that are replaced.
    with torch.device("meta"):
        model = cast(AutoencoderKL, build_untrained(config))
    own = model.state_dict()
    names = {name: fmt.name(name, config) for name in own}
    shapes = {names[n]: _peer_shape(fmt, n, tensor) for n, tensor in own.items()}
    _refuse_differences(fmt, shapes, state)
    _refuse_values(state)
    double = any(tensor.dtype == torch.float64 for tensor in state.values())
    dtype = torch.float64 if double else torch.float32
    filled = {
        n: state[names[n]].detach().reshape(tensor.shape).to("cpu", dtype, copy=True).contiguous()
        for n, tensor in own.items()
    }
    model.load_state_dict(filled, assign=True)
    return model.eval()


def _peer_shape(fmt: CheckpointFormat, name: str, tensor: torch.Tensor) -> tuple[int, ...]:
    shape = tuple(tensor.shape)
    return shape[:2] if fmt.linear(name) else shape


def _refuse_differences(
    fmt: CheckpointFormat, shapes: Mapping[str, tuple[int, ...]], state: State
) -> None:
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
            f"the weights do not fit the {fmt.title} network that they describe: {'; '.join(told)}"
        )


def _refuse_values(state: State) -> None:
    """Check that all tensors are finite floating-point numbers; integers would need a scale."""
    for name, tensor in state.items():
        if tensor.dtype not in _PRECISIONS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise WeightsError(f"{name} holds {kind}: quantized weights are not supported")
        if not tensor.isfinite().all():
            raise WeightsError(f"{name} contains values that are not finite: damaged weights")


def _trimmed(shape: tuple[int, ...], expected: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a linear layer that may be stored as a 1-wide convolution."""
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


def _tell_precision(state: State, report: ConversionReport) -> None:
    kinds = {str(t.dtype).removeprefix("torch.") for t in state.values()}
    other = sorted(kinds - {"float32", "float64"})
    if other:
        report.say(f"read: weights stored as {', '.join(other)}, converted to float32")
