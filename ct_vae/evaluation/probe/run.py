"""The probe: draw, encode, decode, measure."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np

from ct_vae.evaluation.metrics.metric_rows import check_same_grid
from ct_vae.evaluation.probe import measure, phantoms
from ct_vae.evaluation.probe.result import ProbeResult
from ct_vae.volume import Volume

L = TypeVar("L")


class RoundTrip(Protocol[L]):
    """Interface of codecs for the probe."""

    def encode(self, volume: Volume, /) -> L:
        """Encode a volume."""

    def decode(self, latent: L, /) -> Volume:
        """Decode to HU on the same grid."""


def run_probe(codec: RoundTrip[L], spacing_mm: float = 1.0) -> ProbeResult:
    """Encode and decode four synthetic volumes of 160 x 160 x 32 mm, and measure the result.

    Args:
        codec: Model to evaluate.
        spacing_mm: Spacing of the isotropic voxels, preferably that of the training data.

    Returns:
        Resolution per contrast, HU linearity, line pairs, nodule volumes, contrast to noise.

    Raises:
        ConfigError: If the spacing is not in [0.3, 2] mm.
        InputError: If the decoded grid differs.
    """
    resolution = phantoms.draw_resolution(spacing_mm)
    nodules = phantoms.draw_nodules(spacing_mm)
    discs = phantoms.draw_discs(spacing_mm)
    sharp = _through(codec, resolution)
    return ProbeResult(
        spacing_mm=spacing_mm,
        noise_hu=phantoms.NOISE_HU,
        edges=measure.measure_edges(resolution, sharp),
        linearity=measure.measure_steps(_through(codec, phantoms.draw_steps(spacing_mm))),
        line_pairs=measure.measure_line_pairs(resolution, sharp),
        nodules=measure.measure_nodules(nodules, _through(codec, nodules)),
        contrasts=measure.measure_contrast(discs, _through(codec, discs)),
    )


def _through(codec: RoundTrip[L], volume: Volume) -> Volume:
    """Encode and decode a volume, and round to whole HU as in int16 files."""
    decoded = codec.decode(codec.encode(volume))
    check_same_grid(volume, decoded)
    return Volume(np.rint(decoded.voxels), decoded.grid)
