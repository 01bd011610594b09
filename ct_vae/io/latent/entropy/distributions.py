"""Distributions of residuals, as tables of integers that are the same on every machine.

Generalized normal distributions ``exp(-(|x| / a) ** b)`` on the integers -128 to 127. Logarithms,
powers and exponentials of floating-point libraries differ in the last bit between machines; those
of `decimal` are correctly rounded by its specification.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

# Residuals from here to its opposite are symbols; the lowest symbol announces an escape.
HALF = 128
SYMBOLS = 2 * HALF
# Powers b in fourths: they need square roots only.
_SHAPES = (2, 3, 4, 6, 8)
# Four scales per octave, from 1/16 on.
_SCALES = 36
MODELS = len(_SHAPES) * _SCALES
_TOTAL = 1 << 20
_EXACT = Context(prec=20)
# Weights from here on do not change the sum, and their frequencies are 1.
_NEGLIGIBLE = Decimal("1e-25")


def frequencies(model: int) -> NDArray[np.float64]:
    """Return the whole-numbered frequencies of the 256 symbols -128 to 127.

    Args:
        model: Number of the distribution, 0 to `MODELS` - 1.
    """
    positive = _half_table(model)
    return np.concatenate([positive[1:][::-1], positive[:-1]])


def best_model(histogram: NDArray[np.integer]) -> int:
    """Return the distribution that codes symbols with the fewest bits.

    Args:
        histogram: Number of occurrences of the 256 symbols -128 to 127.
    """
    found = np.flatnonzero(histogram)
    if not found.size:
        return 0
    used = slice(found[0], found[-1] + 1)
    bits = _bit_lengths()[:, used] @ histogram[used].astype(np.float64)
    # Sums differ in the last bits between machines, and several distributions cost the same.
    return int(np.argmin(np.round(bits, 6)))


@cache
def _bit_lengths() -> NDArray[np.float64]:
    tables = np.stack([frequencies(model) for model in range(MODELS)])
    lengths: NDArray[np.float64] = np.log2(tables.sum(axis=1, keepdims=True)) - np.log2(tables)
    return lengths


@cache
def _half_table(model: int) -> NDArray[np.float64]:
    """Return frequencies of the magnitudes 0 to 128, each at least 1."""
    fourths, scale = _SHAPES[model // _SCALES], model % _SCALES
    with localcontext(_EXACT):
        width = _fourth_root_power(Decimal(2), scale) / 16
        weights = []
        for x in range(HALF + 1):
            weights.append((-_fourth_root_power(Decimal(x) / width, fourths)).exp())
            if weights[-1] < _NEGLIGIBLE:
                break
        norm = weights[0] + 2 * sum(weights[1:], Decimal(0))
        counts = [max(1, int(weight * _TOTAL / norm)) for weight in weights]
    return np.array(counts + [1] * (HALF + 1 - len(counts)), dtype=np.float64)


def _fourth_root_power(x: Decimal, fourths: int) -> Decimal:
    """Return ``x ** (fourths / 4)`` by square roots and products."""
    root = x.sqrt()
    rest = (Decimal(1), root.sqrt(), root, root * root.sqrt())[fourths % 4]
    for _ in range(fourths // 4):
        rest *= x
    return rest
