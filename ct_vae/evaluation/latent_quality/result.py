"""Results of measuring a latent, for JSON, tables and pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of one latent channel.

    Attributes:
        mean: Mean.
        std: Standard deviation.
        posterior_std: Root mean square of the posterior's standard deviation; ``None`` for a model
            with codes.
        noise_share: Share of the variance of a sampled latent that is posterior noise, in [0, 1];
            ``None`` for a model with codes.
        spectrum: Power spectral density by radial frequency, relative to white noise of the same
            variance; 1 everywhere for white noise.
        high_share: Share of the variance above half the Nyquist frequency, as a fraction of that of
            white noise.
    """

    mean: float
    std: float
    posterior_std: float | None
    noise_share: float | None
    spectrum: tuple[float, ...]
    high_share: float


@dataclass(frozen=True)
class Equivariance:
    """Effect of one transform T, applied to the image or to its latent.

    Attributes:
        transform: Name of the transform.
        latent_error: RMS difference between the latent of the transformed image and the transformed
            latent, relative to the standard deviation of each channel; 0 for an equivariant
            encoder, about 1.4 for unrelated latents.
        rmse_hu: RMSE in HU of the decoded transformed latent from the transformed image.
        rmse_hu_encoded: RMSE in HU of the transformed image, encoded and decoded.
    """

    transform: str
    latent_error: float
    rmse_hu: float
    rmse_hu_encoded: float


@dataclass(frozen=True)
class LatentQuality:
    """Measurements of the latent of one volume.

    Attributes:
        voxels: Size of the measured part of the volume.
        channels: Statistics of each channel.
        frequencies: Frequencies of the spectra in cycles per latent voxel.
        correlation: Correlation matrix of the channels.
        equivariance: Effect of flips, of a rotation and of halving the size.
        crop_error: RMS difference between the latents of two overlapping crops in their overlap,
            relative to the standard deviation of each channel.
        crop_error_center: The same in the middle third of the overlap, away from the borders.
    """

    voxels: tuple[int, int, int]
    channels: tuple[ChannelStatistics, ...]
    frequencies: tuple[float, ...]
    correlation: tuple[tuple[float, ...], ...]
    equivariance: tuple[Equivariance, ...]
    crop_error: float
    crop_error_center: float

    @property
    def largest_correlation(self) -> float:
        """Largest absolute correlation of two channels; 0 with a single channel."""
        matrix = np.abs(np.asarray(self.correlation))
        np.fill_diagonal(matrix, 0.0)
        return float(matrix.max())

    def as_dict(self) -> dict[str, Any]:
        """Return all measurements for JSON."""
        return asdict(self) | {"largest_correlation": self.largest_correlation}

    def line(self) -> str:
        """Return a line that summarizes the measurements."""
        stds = ", ".join(f"{channel.std:.2f}" for channel in self.channels)
        shares = [c.noise_share for c in self.channels if c.noise_share is not None]
        noise = f", posterior noise at most {100 * max(shares):.2g} %" if shares else ""
        flip = max(e.latent_error for e in self.equivariance if e.transform.startswith("flip"))
        return (
            f"latent std {stds}; correlation at most {self.largest_correlation:.2f}{noise}; "
            f"flip error {flip:.2f}, crop error {self.crop_error:.2f} of the std"
        )
