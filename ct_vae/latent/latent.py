"""Latent volume with its grid and record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.latent.record import LatentRecord


@dataclass(frozen=True, eq=False)
class Latent:
    """Latent volume with its geometry and record.

    Attributes:
        array: Posterior means or a sample ``(C, X, Y, Z)`` in float32, unscaled; codes ``(X, Y,
            Z)`` as integers.
        grid: Positions of the latent voxels, each at the center of its block of CT voxels.
        record: Origin of the latent and the steps needed to decode it.
        std: Standard deviations of the posterior ``(C, X, Y, Z)`` in float32, if the record says
            that the latent has them.

    Raises:
        InputError: If array, grid and record are inconsistent.
    """

    array: NDArray[np.float32] | NDArray[np.integer]
    grid: Grid
    record: LatentRecord
    std: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape = self.array.shape if self.record.posterior else None
        if shape != (None if self.std is None else self.std.shape):
            raise InputError(
                "the standard deviations of a latent do not fit its record or its means",
                "the files do not belong together; encode the source again",
            )
        codes = self.record.kind == "codes"
        if self.array.ndim != (3 if codes else 4) or self.array.shape[-3:] != self.grid.shape:
            raise InputError(
                f"a latent of kind {self.record.kind} with shape {self.array.shape} does not fit "
                f"a grid of {self.grid.shape}"
            )
        if codes != np.issubdtype(self.array.dtype, np.integer):
            raise InputError(
                f"latents of kind {self.record.kind} cannot be stored as {self.array.dtype}"
            )
        expected = self.record.latent_grid()
        # Positions in float32 headers have about seven digits.
        if expected.shape != self.grid.shape or expected.distance_mm(self.grid) > 1e-2:
            raise InputError(
                f"the latent's grid {self.grid.shape} does not follow from its record, which "
                f"gives {expected.shape} and is {expected.distance_mm(self.grid):.3g} mm away",
                "the files do not belong together; encode the source again",
            )

    def __repr__(self) -> str:
        record = self.record
        channels = "" if record.kind == "codes" else f"{len(self.array)} channels, "
        return (
            f"Latent({record.kind}, {channels}{self.grid}, "
            f"{self.array.min():.4g} to {self.array.max():.4g}, "
            f"factor {' x '.join(map(str, record.factor))}, model {record.model.name} "
            f"{record.model.sha256[:8]})"
        )

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return self.array.nbytes + (0 if self.std is None else self.std.nbytes)
