"""Section ``preprocess``: how a volume in HU becomes model input."""

from __future__ import annotations

from pydantic import Field, model_validator

from ct_vae.config.base import Section


class PreprocessConfig(Section):
    """Orientation, optional resampling, and the map from HU to model units."""

    axcodes: str = Field(default="RAS", pattern="^[RLAPSI]{3}$")
    """Anatomical directions of the model's index axes."""

    spacing_mm: tuple[float, float, float] | None = None
    """Resample to this spacing, in the order of `axcodes`; null keeps the source's own."""

    window_hu: tuple[float, float] = (-1000.0, 1000.0)
    """HU that map to the ends of `model_range`; values outside are clipped, the share recorded."""

    model_range: tuple[float, float] = (-1.0, 1.0)
    """Model units of the ends of `window_hu`."""

    @model_validator(mode="after")
    def _check(self) -> PreprocessConfig:
        if any(len(set(self.axcodes) & set(pair)) != 1 for pair in ("RL", "AP", "SI")):
            raise ValueError(f"axcodes {self.axcodes!r} must name one of R/L, A/P and S/I each")
        if self.spacing_mm is not None and min(self.spacing_mm) <= 0:
            raise ValueError(f"spacing_mm {self.spacing_mm} must be positive")
        for name, (low, high) in (
            ("window_hu", self.window_hu),
            ("model_range", self.model_range),
        ):
            if not low < high:
                raise ValueError(f"{name} runs from low to high, got {low}, {high}")
        return self
