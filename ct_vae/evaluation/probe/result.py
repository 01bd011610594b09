"""What the probe found, in numbers that a table or JSON can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EdgeTransfer:
    """Resolution at an edge of one contrast.

    Attributes:
        contrast_hu: As drawn.
        contrast_measured_hu: In the reconstruction, far from the edge.
        f50: Frequency in 1/mm where the task transfer function falls to 0.5; ``None`` where the
            edge is lost or the function stays above up to twice the Nyquist frequency.
        f10: The same for 0.1.
        f50_drawn: Of the drawn edge itself, limited by its voxels alone.
        f10_drawn: The same for 0.1.
        frequencies: In 1/mm.
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
class Linearity:
    """HU in the middle of inserts, and the line ``measured = slope * drawn + intercept``."""

    drawn_hu: tuple[float, ...]
    measured_hu: tuple[float, ...]
    slope: float
    intercept_hu: float
    max_error_hu: float


@dataclass(frozen=True)
class LinePairs:
    """Share of the drawn modulation that is left; ``None`` above the Nyquist frequency."""

    per_cm: float
    transfer: float | None


@dataclass(frozen=True)
class Nodule:
    """A sphere, measured by the half-contrast threshold.

    Attributes:
        diameter_mm: As drawn.
        background_hu: Around it.
        contrast_hu: As drawn, over the background.
        drawn_mm3: Measured in the drawn volume.
        measured_mm3: Measured in the reconstruction; 0 when the nodule is lost.
        error: ``measured / drawn - 1``; ``None`` when the voxels are too large to show it.
    """

    diameter_mm: float
    background_hu: float
    contrast_hu: float
    drawn_mm3: float
    measured_mm3: float
    error: float | None


@dataclass(frozen=True)
class ContrastToNoise:
    """A disc in noise; ``None`` where there is no noise left."""

    contrast_hu: float
    cnr_drawn: float | None
    cnr: float | None


@dataclass(frozen=True)
class ProbeResult:
    """All measurements of one model at one spacing."""

    spacing_mm: float
    noise_hu: float
    edges: tuple[EdgeTransfer, ...]
    linearity: Linearity
    line_pairs: tuple[LinePairs, ...]
    nodules: tuple[Nodule, ...]
    contrasts: tuple[ContrastToNoise, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: numbers and ``None``."""
        return asdict(self)
