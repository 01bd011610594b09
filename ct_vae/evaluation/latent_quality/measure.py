"""Measurement of the latent of one volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ct_vae.errors import InputError
from ct_vae.evaluation.latent_quality.result import (
    ChannelStatistics,
    Equivariance,
    LatentQuality,
)
from ct_vae.inference.codec import Codec
from ct_vae.masks import body_mask
from ct_vae.models.posterior import DiagonalGaussian
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.volume import Volume

Change = Callable[[torch.Tensor], torch.Tensor]
# Voxels along each axis of the part that is measured: several receptive fields, at little cost.
_SIDE = 96
_BINS = 8
_LEAST_STD = 1e-12


@dataclass(frozen=True)
class _Encoded:
    """Latent ``(1, C, x, y, z)`` and the variance of its posterior; ``None`` for codes."""

    values: torch.Tensor
    variance: torch.Tensor | None


@torch.inference_mode()
def measure_latent(codec: Codec, volume: Volume, side: int = _SIDE) -> LatentQuality:
    """Measure the latent of the middle of the body.

    The statistics and the spectrum tell how much of the latent is fine detail, and how much of a
    sampled latent is noise. The equivariance error compares the latent of a transformed image with
    the transformed latent, see EQ-VAE (Kouzelis et al. 2025, arXiv 2502.09509). The crop error
    compares the latents of two overlapping crops.

    Args:
        codec: Model to measure.
        volume: Volume in HU.
        side: Size in voxels along each axis of the part that is measured.

    Raises:
        InputError: If the volume has fewer than three latent voxels along its longest axis.
    """
    measurement = _Measurement(codec)
    image = measurement.crop(volume, side)
    whole = measurement.encode(image)
    frequencies, spectra = radial_spectra(whole.values[0].double().numpy())
    crop, center = measurement.crop_errors(image)
    return LatentQuality(
        voxels=(image.shape[2], image.shape[3], image.shape[4]),
        channels=tuple(_channels(whole, frequencies, spectra)),
        frequencies=tuple(map(float, frequencies)),
        correlation=_correlation(whole.values),
        equivariance=tuple(measurement.equivariances(image, whole.values)),
        crop_error=crop,
        crop_error_center=center,
    )


class _Measurement:
    """Encoding and decoding of tensors in model units with the network of a codec."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._network = codec.network
        self._factor = codec.network.factor

    def crop(self, volume: Volume, side: int) -> torch.Tensor:
        """Return the part around the center of the body as ``(1, 1, X, Y, Z)`` in model units."""
        codes, factor = self._codec.preprocessor.axcodes, self._factor
        image = self._codec.preprocessor(volume, factor).tensor
        turned = volume.grid.reorient_array(body_mask(volume).voxels, codes)
        body = turned.astype(np.bool_, copy=False)
        window = []
        for axis, n in enumerate(image.shape[2:]):
            # Halving the size needs a multiple of twice the factor.
            step = 2 * factor[axis] if n >= 2 * factor[axis] else factor[axis]
            size = min(max(side // step, 1), n // step) * step
            window.append(_centered(body, axis, image.shape[2 + axis], size))
        return image[:, :, window[0], window[1], window[2]].contiguous()

    def encode(self, image: torch.Tensor) -> _Encoded:
        features = self._network.features(image.to(self._network.device))
        model = self._network.model
        if isinstance(model, QuantizedAutoencoder):
            return _Encoded(model.quantize(features).latent.float().cpu(), None)
        posterior = DiagonalGaussian(features.cpu())
        return _Encoded(posterior.mode(), posterior.std.square())

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return self._network.decode(latent.to(self._network.device)).float().cpu()

    def equivariances(self, image: torch.Tensor, latent: torch.Tensor) -> Iterator[Equivariance]:
        """Measure each transform that the size and the factor allow."""
        for name, change in self._transforms(image):
            changed, moved = change(image), change(latent)
            direct = self.encode(changed).values
            yield Equivariance(
                transform=name,
                latent_error=relative_error(moved, direct, latent),
                rmse_hu=self._rmse_hu(self.decode(moved), changed),
                rmse_hu_encoded=self._rmse_hu(self.decode(direct), changed),
            )

    def crop_errors(self, image: torch.Tensor) -> tuple[float, float]:
        """Compare the latents of two crops of two thirds of the longest axis in their overlap."""
        sides = list(image.shape[2:])
        axis = 2 + sides.index(max(sides))
        step = self._factor[axis - 2]
        third = image.shape[axis] // step // 3
        if third < 1:
            raise InputError(
                f"a volume of {' x '.join(map(str, sides))} voxels is too small to measure its "
                f"latent with a factor of {step}",
                f"give one of at least {3 * step} voxels along one axis",
            )
        size = 2 * third * step
        first = self.encode(image.narrow(axis, 0, size)).values.narrow(axis, third, third)
        second = self.encode(image.narrow(axis, third * step, size)).values.narrow(axis, 0, third)
        inner = slice(third // 3, third - third // 3)
        middle = tuple(part.movedim(axis, -1)[..., inner] for part in (first, second))
        whole = torch.cat([first, second], dim=axis)
        return relative_error(first, second, whole), relative_error(middle[0], middle[1], whole)

    def _transforms(self, image: torch.Tensor) -> Iterator[tuple[str, Change]]:
        for axis, name in enumerate("xyz"):
            yield f"flip {name}", partial(torch.flip, dims=(2 + axis,))
        if self._factor[0] == self._factor[1]:
            yield "rotate 90 degrees", lambda x: x.rot90(1, (2, 3))
        doubled = [2 * factor for factor in self._factor]
        if all(n % d == 0 for n, d in zip(image.shape[2:], doubled, strict=True)):
            yield "halve the size", lambda x: functional.avg_pool3d(x, 2)

    def _rmse_hu(self, a: torch.Tensor, b: torch.Tensor) -> float:
        scale = self._codec.preprocessor.scale
        difference = scale.to_hu(a).double() - scale.to_hu(b).double()
        return float(difference.square().mean().sqrt())


def relative_error(a: torch.Tensor, b: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the RMS difference of latents, relative to the standard deviation of each channel.

    Args:
        a: Latent ``(1, C, *spatial)``.
        b: Latent of the same shape.
        reference: Latent ``(1, C, *spatial)`` whose standard deviations are used; constant channels
            are left out.
    """
    variance = reference[0].double().flatten(1).var(dim=1, correction=0)
    error = (a - b)[0].double().square().flatten(1).mean(dim=1)
    varied = variance > _LEAST_STD
    return float((error[varied] / variance[varied]).mean().sqrt()) if varied.any() else 0.0


def radial_spectra(
    latent: NDArray[np.float64], bins: int = _BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the radial power spectral density of each channel, relative to white noise.

    Args:
        latent: Latent ``(C, x, y, z)``.
        bins: Number of bins between 0 and the Nyquist frequency of 0.5 cycles per latent voxel.

    Returns:
        Centers of the bins in cycles per latent voxel ``(bins,)``, and densities ``(C, bins)``
        whose mean over all frequencies is 1. Bins without a frequency and constant channels are 0.
    """
    sides = latent.shape[1:]
    axes = np.meshgrid(*(np.fft.fftfreq(n) for n in sides), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    edges = np.linspace(0, 0.5, bins + 1)
    # Corners beyond the Nyquist frequency of the axes belong to the last bin.
    place = np.clip(np.digitize(radius, edges) - 1, 0, bins - 1).ravel()
    # The frequency zero is the mean, which is not part of the variance.
    counted = radius.ravel() > 0
    count = np.bincount(place[counted], minlength=bins)
    spectra = np.zeros((len(latent), bins))
    for channel, values in enumerate(latent):
        power = np.abs(np.fft.fftn(values - values.mean())).ravel() ** 2
        if power.sum() <= _LEAST_STD:
            continue
        total = np.bincount(place[counted], power[counted], minlength=bins)
        density = np.divide(total, count, out=np.zeros(bins), where=count > 0)
        spectra[channel] = density * counted.sum() / power[counted].sum()
    return (edges[:-1] + edges[1:]) / 2, spectra


def _channels(
    whole: _Encoded, frequencies: NDArray[np.float64], spectra: NDArray[np.float64]
) -> Iterator[ChannelStatistics]:
    values = whole.values[0].double().flatten(1)
    high = frequencies > 0.25
    for channel, spectrum in enumerate(spectra):
        variance = float(values[channel].var(correction=0))
        noise = (
            None if whole.variance is None else float(whole.variance[0, channel].double().mean())
        )
        yield ChannelStatistics(
            mean=float(values[channel].mean()),
            std=variance**0.5,
            posterior_std=None if noise is None else noise**0.5,
            noise_share=None if noise is None else noise / max(variance + noise, _LEAST_STD),
            spectrum=tuple(map(float, spectrum)),
            high_share=float(spectrum[high].mean()),
        )


def _correlation(latent: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    rows = latent[0].double().flatten(1)
    rows = rows - rows.mean(dim=1, keepdim=True)
    norms = rows.norm(dim=1).clamp_min(_LEAST_STD)
    matrix = (rows @ rows.T) / norms[:, None] / norms[None, :]
    return tuple(tuple(map(float, row)) for row in matrix)


def _centered(body: NDArray[np.bool_], axis: int, total: int, size: int) -> slice:
    """Return a window of a size around the center of the body along an axis."""
    others = tuple(a for a in range(3) if a != axis)
    weight = body.sum(axis=others, dtype=np.float64)
    places = np.arange(len(weight))
    center = float((weight * places).sum() / weight.sum()) if weight.any() else total / 2
    low = int(np.clip(round(center - size / 2), 0, total - size))
    return slice(low, low + size)
