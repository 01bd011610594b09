"""Conversion of older MONAI parameter names to current ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import torch

from ct_vae.convert_weights.architecture import State, identity_kernel, length
from ct_vae.convert_weights.checkpoint_format import ConversionReport
from ct_vae.convert_weights.monai_sequence import last_unit, read_side
from ct_vae.errors import WeightsError

_UNIT = r"((?:en|de)coder\.blocks\.\d+)"
_OLD_ATTENTION = re.compile(rf"{_UNIT}\.(to_q|to_k|to_v|proj_attn)\.(weight|bias)")
_OLD_STEP = re.compile(r"(decoder\.blocks\.\d+)\.conv\.conv\.(weight|bias)")
_COMBINED = re.compile(rf"{_UNIT}\.attn\.qkv\.(weight|bias)")
_QUERY = re.compile(rf"{_UNIT}\.attn\.to_q\.weight")
_CONV = re.compile(rf"{_UNIT}\.(.*\.)?conv\.(weight|bias)")
_MOMENTS = ("quant_conv_mu", "quant_conv_log_sigma")


def is_wrapped(state: State) -> bool:
    """Return true if convolutions are those of MAISI, one module deeper than in MONAI."""
    return "encoder.blocks.0.conv.conv.weight" in state


def has_old_steps(state: State) -> bool:
    """Return true if upsampling layers have the names of MONAI Generative or old MAISI weights."""
    return not is_wrapped(state) and any(_OLD_STEP.fullmatch(name) for name in state)


def modernize(state: State, wrapped: bool, report: ConversionReport) -> dict[str, torch.Tensor]:
    """Convert to current names, one convolution of moments and separate attention layers.

    Args:
        state: Weights of a MONAI or MAISI network.
        wrapped: True for a MAISI network.
        report: Report that findings are added to.

    Raises:
        WeightsError: If tensors that belong together have different shapes.
    """
    old_steps = has_old_steps(state) and not wrapped
    result = _renamed(state, {name: _today(name, old_steps) for name in state})
    if wrapped and not is_wrapped(state):
        plain = _middle_blocks(result)
        result = _renamed(result, {name: _wrap(name, plain) for name in result})
    if result.keys() != state.keys():
        report.say("read: tensors by the names of MONAI Generative or older MAISI")
    _split_combined(result)
    _supply_last_layers(result, report)
    _stack_moments(result)
    return result


def _renamed(state: State, names: Mapping[str, str]) -> dict[str, torch.Tensor]:
    result = {names[name]: tensor for name, tensor in state.items()}
    if len(result) < len(state):
        twice = sorted(n for n, times in Counter(names.values()).items() if times > 1)
        raise WeightsError(f"the weights contain {twice[0]} twice, by its old and its new name")
    return result


def _today(name: str, rename_step: bool) -> str:
    if match := _OLD_ATTENTION.fullmatch(name):
        layer = "out_proj" if match[2] == "proj_attn" else match[2]
        return f"{match[1]}.attn.{layer}.{match[3]}"
    if rename_step and (match := _OLD_STEP.fullmatch(name)):
        return f"{match[1]}.postconv.conv.{match[2]}"
    return name


def _middle_blocks(state: State) -> set[str]:
    """Return the blocks of the middle stages, whose convolutions MAISI does not wrap."""
    found = set()
    if read_side(state, "encoder").middle:
        last = last_unit(state, "encoder")
        found |= {f"encoder.blocks.{last - 4}", f"encoder.blocks.{last - 2}"}
    if read_side(state, "decoder").middle:
        found |= {"decoder.blocks.1", "decoder.blocks.3"}
    return found


def _wrap(name: str, middles: set[str]) -> str:
    match = _CONV.fullmatch(name)
    if match is None or match[1] in middles:
        return name
    return f"{match[1]}.{match[2] or ''}conv.conv.{match[3]}"


def _split_combined(state: dict[str, torch.Tensor]) -> None:
    for name in [name for name in state if _COMBINED.fullmatch(name)]:
        tensor = state.pop(name)
        if not tensor.ndim or len(tensor) % 3:
            raise WeightsError(f"{name} of shape {tuple(tensor.shape)} is not three layers in one")
        for layer, part in zip(("to_q", "to_k", "to_v"), tensor.chunk(3), strict=True):
            state[name.replace("qkv", layer)] = part


def _supply_last_layers(state: dict[str, torch.Tensor], report: ConversionReport) -> None:
    supplied = 0
    for name in [name for name in state if _QUERY.fullmatch(name)]:
        layer = name.replace("to_q.weight", "out_proj")
        if f"{layer}.weight" in state or f"{layer}.bias" in state:
            continue
        channels = length(state[name])
        state[f"{layer}.weight"] = identity_kernel(state[name], channels, 0)
        state[f"{layer}.bias"] = torch.zeros(channels, dtype=state[name].dtype)
        supplied += 1
    if supplied:
        report.say(
            f"read: {supplied} attention blocks have no last layer (include_fc false); an identity "
            "is used instead"
        )


def _stack_moments(state: dict[str, torch.Tensor]) -> None:
    for last in ("weight", "bias"):
        names = [f"{layer}.conv.{last}" for layer in _MOMENTS]
        if not all(name in state for name in names):
            continue
        parts = [state.pop(name) for name in names]
        if parts[0].shape != parts[1].shape or not parts[0].ndim:
            raise WeightsError(f"{names[0]} and {names[1]} do not fit together")
        state[f"quant_conv.conv.{last}"] = torch.cat(parts)
