"""Results of the phantom probe, for tables and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EdgeTransfer:
    """Resolution at an edge of one contrast.

    Attributes:
        contrast_hu: Drawn contrast.
        contrast_measured_hu: Contrast in the reconstruction, away from the edge.
        f50: Frequency in 1/mm where the task transfer function falls to 0.5; ``None`` if the
            edge is lost or the function stays above 0.5 up to twice the Nyquist frequency.
        f10: The same for 0.1.
        f50_drawn: ``f50`` of the drawn edge, which is limited by the voxel size only.
        f10_drawn: The same for 0.1.
        frequencies: Frequencies in 1/mm.
        transfer: The task transfer function of the reconstruction, 1 at zero; empty if lost.
    """

    contrast_hu: float
    contrast_measured_hu: float
    f50: float | None
    f10: float | None
    f50_drawn: float | None
    f10_drawn: float | None
    frequencies: tuple[float, ...]
    transfer: tuple[float, ...]


@dataclass(frozen=True)
class ProbeLinearity:
    """HU in the center of inserts, and the line ``measured = slope * drawn + intercept``."""

    drawn_hu: tuple[float, ...]
    measured_hu: tuple[float, ...]
    slope: float
    intercept_hu: float
    max_error_hu: float


@dataclass(frozen=True)
class LinePairs:
    """Fraction of the drawn modulation that remains; ``None`` above the Nyquist frequency."""

    per_cm: float
    transfer: float | None


@dataclass(frozen=True)
class Nodule:
    """A spherical nodule, measured with the half-contrast threshold.

    Attributes:
        diameter_mm: Drawn diameter.
        background_hu: HU of the background.
        contrast_hu: Drawn contrast to the background.
        drawn_mm3: Volume measured in the drawn volume.
        measured_mm3: Volume measured in the reconstruction; 0 if the nodule is lost.
        error: ``measured / drawn - 1``; ``None`` if the nodule is too small for the voxel size.
    """

    diameter_mm: float
    background_hu: float
    contrast_hu: float
    drawn_mm3: float
    measured_mm3: float
    error: float | None


@dataclass(frozen=True)
class ContrastToNoise:
    """Contrast-to-noise ratio of a disc; ``None`` if no noise remains."""

    contrast_hu: float
    cnr_drawn: float | None
    cnr: float | None


@dataclass(frozen=True)
class ProbeResult:
    """All measurements of one model at one spacing."""

    spacing_mm: float
    noise_hu: float
    edges: tuple[EdgeTransfer, ...]
    linearity: ProbeLinearity
    line_pairs: tuple[LinePairs, ...]
    nodules: tuple[Nodule, ...]
    contrasts: tuple[ContrastToNoise, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all measurements for JSON."""
        return asdict(self)
