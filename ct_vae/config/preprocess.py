"""Section ``preprocess``: orientation, spacing and intensity range of the model input."""

from __future__ import annotations

from pydantic import Field, model_validator

from ct_vae.config.base import Section


class PreprocessConfig(Section):
    """Orientation, optional resampling, and the linear map from HU to model units."""

    axcodes: str = Field(default="RAS", pattern="^[RLAPSI]{3}$")
    """Anatomical orientation of the model input, such as `RAS`."""

    spacing_mm: tuple[float, float, float] | None = None
    """Voxel spacing in mm to resample to, in the order of `axcodes`; null keeps the original
    spacing."""

    window_hu: tuple[float, float] = (-1000.0, 1000.0)
    """HU range that is mapped to `model_range`. Values outside are clipped; the clipped fraction is
    recorded with the latent."""

    model_range: tuple[float, float] = (-1.0, 1.0)
    """Range of the model input, to which `window_hu` is mapped."""

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
                raise ValueError(f"{name} must run from low to high, got {low}, {high}")
        return self
