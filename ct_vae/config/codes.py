"""How wide codes are and how many there are, where nothing else is said."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

QuantizerKind = Literal["ema", "fsq", "lfq"]
DEFAULT_LEVELS = (8, 8, 8, 5, 5, 5)
MOST_BITS = 24
_EMA = (8, 8192)
_DEFAULT_BITS = 16


def codes_of(
    kind: QuantizerKind, levels: Sequence[int] | None, bits: int | None
) -> tuple[int, int]:
    """Width of a code and number of codes.

    A learnt codebook may be told others; those of the other kinds follow from their numbers.

    Args:
        kind: Of the quantiser.
        levels: Of ``fsq``; `DEFAULT_LEVELS` if not given.
        bits: Of ``lfq``; 16 if not given. More than 24 count as 24: nobody has so many codes.
    """
    if kind == "ema":
        return _EMA
    if kind == "fsq":
        steps = levels or DEFAULT_LEVELS
        return len(steps), prod(steps)
    width = _DEFAULT_BITS if bits is None else bits
    return width, 2 ** min(width, MOST_BITS)
