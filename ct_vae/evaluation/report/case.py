"""What the report shows of one case."""

from __future__ import annotations

from dataclasses import dataclass

from ct_vae.evaluation.metrics.masks import Mask
from ct_vae.evaluation.metrics.metric_rows import MetricRow
from ct_vae.evaluation.metrics.texture import Texture
from ct_vae.volume import Volume

_WHOLE = "the whole volume"
_WORDS = {"body": "the body", "all": _WHOLE}


@dataclass(frozen=True, eq=False)
class ReportCase:
    """One original with its reconstruction.

    Attributes:
        name: The caller's name for the case; never a path or a patient's name.
        original: As it was read.
        reconstruction: What is judged, on the same grid.
        rows: Errors of the reconstruction and of the baselines.
        body: Where errors are looked for; the whole volume when ``None``.
        texture: Noise-power spectra of the case; ``None`` when they are not wanted.
        notes: What was unusual about the case, one line each.
    """

    name: str
    original: Volume
    reconstruction: Volume
    rows: list[MetricRow]
    body: Mask | None
    texture: Texture | None = None
    notes: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Where errors are looked for, in words."""
        if self.body is None:
            return _WHOLE
        return _WORDS.get(self.body.name, f"the mask {self.body.name}")
