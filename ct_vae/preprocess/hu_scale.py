"""Linear map between Hounsfield units and model units, clipped to a window."""

from __future__ import annotations

import torch

from ct_vae.errors import ConfigError

Interval = tuple[float, float]


class HounsfieldScale:
    """Linear map from `window_hu` to `model_range` and back; both directions clip.

    Args:
        window_hu: Lowest and highest HU that the model represents.
        model_range: Model units of the ends of the window.

    Raises:
        ConfigError: If the lower end of an interval is not below its upper end.
    """

    def __init__(self, window_hu: Interval, model_range: Interval) -> None:
        for name, (low, high) in (("window_hu", window_hu), ("model_range", model_range)):
            if not low < high:
                raise ConfigError(f"{name} runs from low to high, got {low}, {high}")
        self.window_hu = window_hu
        self.model_range = model_range

    @property
    def hu_per_unit(self) -> float:
        """HU per model unit."""
        low, high = self.window_hu
        return (high - low) / (self.model_range[1] - self.model_range[0])

    def to_model(self, hu: torch.Tensor) -> torch.Tensor:
        """Convert HU of any shape to model units in float32; the type of tensor is kept."""
        return _mapped(hu, self.window_hu, self.model_range)

    def to_hu(self, units: torch.Tensor) -> torch.Tensor:
        """Convert model units of any shape to HU in float32; the type of tensor is kept."""
        return _mapped(units, self.model_range, self.window_hu)

    def outside(self, hu: torch.Tensor) -> tuple[float, float]:
        """Return the fractions of values below and above the window."""
        low, high = self.window_hu
        below = torch.count_nonzero(hu < low).item()
        above = torch.count_nonzero(hu > high).item()
        return below / hu.numel(), above / hu.numel()


def _mapped(values: torch.Tensor, source: Interval, target: Interval) -> torch.Tensor:
    """Map an interval to another, with the operations and the order of MONAI's transform."""
    fractions = (values - source[0]) / (source[1] - source[0])
    scaled = fractions * (target[1] - target[0]) + target[0]
    return scaled.clamp(*target).to(torch.float32)
