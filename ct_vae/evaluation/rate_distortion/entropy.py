"""Size of quantized values after entropy coding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

# Contexts: logarithmic classes of the magnitudes of the neighbors that are decoded before a value.
_CLASSES = 21
_PRIOR = 0.5


def coded_bits(values: NDArray[np.integer]) -> float:
    """Return the code length of an ideal adaptive arithmetic coder, in bits.

    Each channel is coded on its own. The probability of a value is estimated from the values that
    occurred before in the same context (Krichevsky and Trofimov 1981). The context is the sum of
    the magnitudes of the three preceding neighbors, in logarithmic classes. The length does not
    depend on the order of the values within a context.

    Args:
        values: Integers ``(C, X, Y, Z)``.
    """
    bits = 0.0
    for channel in values:
        contexts = _contexts(np.abs(channel.astype(np.int64))).ravel()
        symbols, found = np.unique(channel.ravel(), return_inverse=True)
        # One more symbol stands for all values that do not occur.
        kinds = len(symbols) + 1
        counts = np.bincount(contexts * kinds + found, minlength=_CLASSES * kinds)
        table = counts.reshape(_CLASSES, kinds)
        total = table.sum(1)
        nats = gammaln(total + kinds * _PRIOR) - gammaln(kinds * _PRIOR)
        nats -= (gammaln(table + _PRIOR) - gammaln(_PRIOR)).sum(1)
        bits += float(nats.sum()) / np.log(2)
    return bits


def _contexts(magnitudes: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.zeros_like(magnitudes)
    for axis in range(magnitudes.ndim):
        ahead = [slice(None)] * magnitudes.ndim
        behind = list(ahead)
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        total[tuple(ahead)] += magnitudes[tuple(behind)]
    classes = np.floor(2 * np.log2(1.0 + total)).astype(np.int64)
    limited: NDArray[np.int64] = np.minimum(classes, _CLASSES - 1)
    return limited
