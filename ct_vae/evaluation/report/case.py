"""Data of one case for the report."""

from __future__ import annotations

from dataclasses import dataclass

from ct_vae.evaluation.latent_quality.result import LatentQuality
from ct_vae.evaluation.metrics.metric_rows import MetricRow
from ct_vae.evaluation.texture.noise import Texture
from ct_vae.masks import Mask
from ct_vae.volume import Volume

_WHOLE = "the whole volume"
_WORDS = {"body": "the body", "all": _WHOLE}


@dataclass(frozen=True, eq=False)
class ReportCase:
    """One original with its reconstruction.

    Attributes:
        name: Name of the case; must not identify the patient.
        original: Original volume.
        reconstruction: Reconstruction on the same grid.
        rows: Metrics of the reconstruction and of the baselines.
        body: Mask in which errors are searched; ``None`` means the whole volume.
        texture: Noise power spectra of the case; ``None`` if not computed.
        notes: Notes on the case, one line each.
        latent: Measurements of the latent; ``None`` if not measured.
    """

    name: str
    original: Volume
    reconstruction: Volume
    rows: list[MetricRow]
    body: Mask | None
    texture: Texture | None = None
    notes: tuple[str, ...] = ()
    latent: LatentQuality | None = None

    @property
    def where(self) -> str:
        """Description of the region in which errors are searched."""
        if self.body is None:
            return _WHOLE
        return _WORDS.get(self.body.name, f"the mask {self.body.name}")
