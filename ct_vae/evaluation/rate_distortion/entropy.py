"""Size of the indices of a codebook after entropy coding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

_PRIOR = 0.5


def index_bits(indices: NDArray[np.integer]) -> float:
    """Return the code length of indices by an ideal adaptive arithmetic coder, in bits.

    The probability of an index is estimated from the indices that occurred before (Krichevsky and
    Trofimov 1981), so no table is transmitted. The length does not depend on the order.
    """
    _, counts = np.unique(indices, return_counts=True)
    # One more symbol represents all indices that do not occur.
    kinds = len(counts) + 1
    nats = gammaln(counts.sum() + kinds * _PRIOR) - gammaln(kinds * _PRIOR)
    nats -= (gammaln(counts + _PRIOR) - gammaln(_PRIOR)).sum()
    return float(nats) / float(np.log(2))
