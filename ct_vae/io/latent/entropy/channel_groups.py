"""Groups of channels and slabs of passes, in which a latent is coded with little memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.io.latent.entropy.lattice import Integers, Pass, row_slabs
from ct_vae.io.latent.entropy.prediction import (
    CHANNELS_BEFORE,
    CONTEXTS,
    Magnitudes,
    Neighborhood,
)

# Values of the channels that are coded together, which is faster where channels are small.
_GROUP_VALUES = 1 << 17
# Values that are predicted at once.
_SLAB_VALUES = 1 << 14


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are coded together.

    Attributes:
        integers: Values ``(C, X, Y, Z)``.
        magnitudes: Magnitudes of the residuals ``(B + C, X, Y, Z)``, beginning with those of up to
            two channels before.
        channels: Place of the channels in the latent.
    """

    integers: Integers
    magnitudes: Magnitudes
    channels: slice

    @property
    def rows(self) -> slice:
        """Place of the contexts of the channels among all contexts."""
        return slice(self.channels.start * CONTEXTS, self.channels.stop * CONTEXTS)

    def slabs(self, step: Pass) -> Iterator[tuple[slice, Slab]]:
        """Return the slabs of a pass with their place along its axis."""
        known, added = (step.view(self.integers, at) for at in (step.known, step.added))
        own = self.magnitudes[-len(self.integers) :]
        found, sizes = step.view(own, step.known), step.view(self.magnitudes, step.added)
        for rows in row_slabs(len(added), added[0].size, _SLAB_VALUES):
            yield rows, Slab(Neighborhood.of(known, found, rows), added[rows], sizes[rows])


@dataclass(frozen=True)
class Slab:
    """Added voxels of a slab of a pass, as views: their neighbors, values and magnitudes."""

    near: Neighborhood
    values: Integers
    sizes: Magnitudes

    def sorting(self, channel: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the order that sorts a channel by context, and the number of values in each."""
        flat = self.near.contexts(channel, self.sizes).ravel()
        return np.argsort(flat, kind="stable"), np.bincount(flat, minlength=CONTEXTS)


def channel_groups(integers: Integers) -> Iterator[ChannelGroup]:
    """Divide the channels of a latent ``(C, X, Y, Z)`` into groups.

    The magnitudes of a group have to be set, pass by pass, before the next group is taken.
    """
    sides = integers.shape[1:]
    size = min(len(integers), max(1, _GROUP_VALUES // math.prod(sides)))
    before = CHANNELS_BEFORE if size < len(integers) else 0
    magnitudes = np.zeros((before + size, *sides), dtype=np.uint16)
    for channels in row_slabs(len(integers), 1, size):
        count = channels.stop - channels.start
        yield ChannelGroup(integers[channels], magnitudes[: before + count], channels)
        for channel in range(before):
            magnitudes[channel] = magnitudes[count + channel]
        # The first voxel has no residual; all others are set in the order of the passes.
        magnitudes[before:, 0, 0, 0] = 0
