"""Flat lists of units in MONAI's encoders and decoders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from ct_vae.config.model import ModelConfig
from ct_vae.convert_weights.architecture import (
    Side,
    State,
    length,
)
from ct_vae.errors import WeightsError

Part = Literal["encoder", "decoder"]
# Letters of the kinds of units. A step is a downsampling or upsampling layer.
BLOCK, ATTENTION, STEP, NORM, CONV = "rasnc"
_ATTENTION = {
    "norm": "norm",
    "q": "attn.to_q",
    "k": "attn.to_k",
    "v": "attn.to_v",
    "proj_out": "attn.out_proj",
}
_MIDDLE = BLOCK + ATTENTION + BLOCK


def read_side(state: State, part: Part) -> Side:
    """Infer the architecture of one side from its units.

    Raises:
        WeightsError: If the units are not in an order that MONAI uses.
    """
    units = _units(state, part)
    letters = "".join(letter for letter, _ in units)
    match = re.fullmatch(rf"{CONV}((?:[{BLOCK}{ATTENTION}]+{STEP}?)+){NORM}{CONV}", letters)
    if match is None or match[1].endswith(STEP):
        raise WeightsError(f"{part}.blocks are not a list of units that MONAI creates: {letters}")
    levels = match[1].split(STEP)
    innermost = len(levels) - 1 if part == "encoder" else 0
    levels[innermost], middle = _without_middle(levels[innermost], part)
    for level in levels:
        if not re.fullmatch(f"{BLOCK}+|(?:{BLOCK}{ATTENTION})+", level):
            raise WeightsError(f"{part}.blocks have a level that MONAI does not create: {level!r}")
    widths = _widths(units, levels, (len(_MIDDLE) if middle and part == "decoder" else 0) + 1)
    if part == "decoder":
        levels, widths = levels[::-1], widths[::-1]
    return Side(
        widths=tuple(widths),
        blocks=tuple(level.count(BLOCK) for level in levels),
        attention=tuple(ATTENTION in level for level in levels),
        middle=middle,
        attends=middle,
    )


def last_unit(state: State, part: Part) -> int:
    """Return the number of the last unit of a side."""
    numbers = [int(n) for n in _numbers(state, part)]
    if not numbers:
        raise WeightsError(f"the weights have no {part}.blocks")
    return max(numbers)


def unit_names(config: ModelConfig, part: Part) -> list[tuple[str, str]]:
    """Return this package's name and the letter of every unit of a side, in MONAI's order."""
    levels = range(len(config.widths))
    attention = config.level_attention
    list_name, step = ("down", "downsample") if part == "encoder" else ("up", "upsample")
    blocks = config.encoder_blocks if part == "encoder" else config.decoder_level_blocks
    middle = [("mid.block_1", BLOCK), ("mid.attn_1", ATTENTION), ("mid.block_2", BLOCK)]
    stages: list[tuple[str, str]] = []
    for level in levels if part == "encoder" else reversed(levels):
        for j in range(blocks[level]):
            stages.append((f"{list_name}.{level}.block.{j}", BLOCK))
            if attention[level]:
                stages.append((f"{list_name}.{level}.attn.{j}", ATTENTION))
        if level != (levels[-1] if part == "encoder" else 0):
            stages.append((f"{list_name}.{level}.{step}", STEP))
    if part == "encoder":
        stages = stages + middle if config.encoder_mid else stages
    else:
        stages = middle + stages if config.decoder_mid else stages
    return [("conv_in", CONV), *stages, ("norm_out", NORM), ("conv_out", CONV)]


def parameter_name(own: str, letter: str, part: Part, wrapped: bool) -> str:
    """Return MONAI's name of a parameter inside its unit.

    Args:
        own: Name in this package, such as ``conv1.weight``.
        letter: Letter of the unit.
        part: Side of the unit.
        wrapped: True if convolutions are ``MaisiConvolution``, one module deeper.
    """
    layer, _, last = own.rpartition(".")
    conv = "conv.conv" if wrapped else "conv"
    if letter == CONV:
        return f"{conv}.{last}"
    if letter == STEP:
        outer = "conv" if wrapped or part == "encoder" else "postconv"
        return f"{outer}.{conv}.{last}"
    if letter == ATTENTION:
        return f"{_ATTENTION[layer]}.{last}"
    return own if letter == NORM or layer.startswith("norm") else f"{layer}.{conv}.{last}"


def _numbers(state: State, part: Part) -> Mapping[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name in state:
        if match := re.match(rf"{part}\.blocks\.(\d+)\.(.+)", name):
            names.setdefault(match[1], []).append(match[2])
    return names


def _units(state: State, part: Part) -> list[tuple[str, int]]:
    """Return the letter and the channels of every unit; the channels of all but blocks are 0."""
    names = _numbers(state, part)
    found: list[tuple[str, int]] = []
    count = last_unit(state, part) + 1
    for number in range(count):
        inner = names.get(str(number), [])
        letter = _letter(inner, number in (0, count - 1))
        if not letter:
            told = ", ".join(inner[:3]) or "nothing"
            raise WeightsError(f"{part}.blocks.{number} is not a unit of MONAI: {told}")
        kernel = next((name for name in inner if re.match(r"conv1\.(conv\.)+weight", name)), None)
        full = f"{part}.blocks.{number}.{kernel}"
        found.append((letter, length(state[full]) if kernel else 0))
    return found


def _letter(inner: list[str], end: bool) -> str:
    if any(name.startswith("conv1.") for name in inner):
        return BLOCK
    if any(name.startswith("attn.") for name in inner):
        return ATTENTION
    if any(re.match(r"(post)?conv\.", name) for name in inner):
        return CONV if end else STEP
    return NORM if "weight" in inner else ""


def _without_middle(level: str, part: Part) -> tuple[str, bool]:
    """Return the innermost level without the middle stage, and true if there was one."""
    if part == "encoder":
        # A level with attention ends with it; only a middle stage then ends with a block.
        middle = ATTENTION in level and level.endswith(_MIDDLE)
        return (level[: -len(_MIDDLE)], True) if middle else (level, False)
    # Only after a middle stage does a block follow a block that follows attention.
    middle = level.startswith(_MIDDLE + BLOCK)
    return (level[len(_MIDDLE) :], True) if middle else (level, False)


def _widths(units: list[tuple[str, int]], levels: list[str], first: int) -> list[int]:
    """Return the channels of each level, those of its first block."""
    widths, place = [], first
    for level in levels:
        widths.append(units[place][1])
        place += len(level) + 1
    return widths
