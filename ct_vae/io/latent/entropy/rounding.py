"""Rounding of values to integers that are cheap to code.

Values near the middle between two integers are rounded to the one that is nearer to the prediction.
This adds little error and saves bits where residuals are small, because small ones are frequent.
The threshold minimizes error plus bits, with the slope ``6 dB per bit`` of their trade and
residuals of a Laplace distribution, see Sullivan 1996, "Efficient scalar quantization of
exponential and Laplacian random variables", IEEE Transactions on Information Theory 42.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ct_vae.io.latent.entropy.channel_groups import ChannelGroup, channel_groups
from ct_vae.io.latent.entropy.lattice import Integers, Pass, lattice_passes, smoothest_last
from ct_vae.io.latent.entropy.prediction import CONTEXTS, LARGEST, fit_weights, magnitudes_of

# Largest distance by which the threshold moves away from the middle, in steps.
LARGEST_MOVE = 0.15


def round_cheaply(values: NDArray[np.floating], steps: Sequence[float], integers: Integers) -> None:
    """Change integers by one where this saves more bits than it adds error.

    Args:
        values: Values ``(C, X, Y, Z)``.
        steps: Step of each channel.
        integers: Values over steps, rounded to the nearest integers; changed in place. Values that
            are too large for the coder leave them as they are.
    """
    if max(int(integers.max()), -int(integers.min())) > LARGEST:
        return
    passes = tuple(lattice_passes(integers.shape[1:], smoothest_last(integers)))
    for group in channel_groups(integers):
        exact = values[group.channels]
        for step in passes:
            _round_pass(group, step, exact, np.asarray(steps[group.channels]))


def _round_pass(
    group: ChannelGroup, step: Pass, exact: NDArray[np.floating], steps: NDArray[np.float64]
) -> None:
    known, added = (step.view(group.integers, at) for at in (step.known, step.added))
    weights = fit_weights(known, added)
    targets = step.view(exact, step.added)
    for rows, slab in group.slabs(step):
        chosen = slab.near.predict(weights)
        for channel, width in enumerate(steps):
            difference = targets[rows, channel] / width - chosen[:, channel]
            threshold = _HALF_LESS_MOVE[slab.near.contexts(channel, slab.sizes)]
            size = np.floor(np.abs(difference) + threshold)
            residuals = np.copysign(size, difference).astype(np.int32)
            slab.sizes[:, channel - len(steps)] = magnitudes_of(residuals)
            chosen[:, channel] += residuals
        slab.values[...] = np.clip(chosen, -LARGEST, LARGEST, out=chosen)


def _thresholds() -> NDArray[np.float64]:
    """Return for each context the share of a step that is added before rounding down."""
    # Measured: residuals of context k have a mean magnitude of about 2 ** (k / 2) / 13.
    scale = 2.0 ** (np.arange(CONTEXTS) / 2) / 13
    return 0.5 - np.minimum(LARGEST_MOVE, 1 / (12 * scale))


_HALF_LESS_MOVE = _thresholds()
