"""Metrics in HU as MONAI metrics, for MONAI engines and bundles."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.metrics.utils import do_metric_reduction
from monai.utils import MetricReduction

from ct_vae.errors import InputError
from ct_vae.evaluation.metrics.similarity.ssim import map_means
from ct_vae.evaluation.windows import parse_window


class HounsfieldMetric(CumulativeIterationMetric):  # type: ignore[misc] # MONAI publishes no types
    """Base class of metrics per image and channel in a CT window.

    The inputs ``y_pred`` and ``y``, ``(B, C, *spatial)``, are clipped to the window. Computation is
    in float64.

    Args:
        window: Name of a window, or ``name:width/level``.
        hu_range: HU of the tensor values 0 and 1; ``None`` if the tensors are in HU.
        reduction: Reduction over images in `aggregate`, as in MONAI.
        get_not_nans: True if `aggregate` also returns the number of defined values.
    """

    def __init__(
        self,
        window: str = "full",
        hu_range: tuple[float, float] | None = None,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        get_not_nans: bool = False,
    ) -> None:
        super().__init__()
        self.window = parse_window(window)
        self.hu_range = hu_range
        self.reduction = reduction
        self.get_not_nans = get_not_nans

    def aggregate(
        self, reduction: MetricReduction | str | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Reduce the values since the last reset.

        Raises:
            InputError: If there are none.
        """
        data = self.get_buffer()
        if not isinstance(data, torch.Tensor):
            raise InputError("no image has been given to the metric", "call it before aggregating")
        found, counted = do_metric_reduction(data, reduction or self.reduction)
        return (found, counted) if self.get_not_nans else found

    def _compute_tensor(
        self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **_: Any
    ) -> torch.Tensor:
        if y is None or y_pred.shape != y.shape:
            shape = "None" if y is None else tuple(y.shape)
            raise InputError(f"y_pred has the shape {tuple(y_pred.shape)}, y {shape}")
        result, original = (self._clipped(tensor) for tensor in (y_pred, y))
        return self._measure(result, original)

    def _clipped(self, tensor: torch.Tensor) -> torch.Tensor:
        values = tensor.detach().to(torch.float64)
        if self.hu_range is not None:
            low, high = self.hu_range
            values = low + values * (high - low)
        return values.clamp(self.window.low, self.window.high)

    def _measure(self, result: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        """Return values ``(B, C)`` for clipped HU ``(B, C, *spatial)``."""
        raise NotImplementedError


class HounsfieldMAE(HounsfieldMetric):
    """Mean absolute error in HU."""

    def _measure(self, result: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        return (result - original).abs().flatten(2).mean(2)


class HounsfieldRMSE(HounsfieldMetric):
    """Root mean square error in HU."""

    def _measure(self, result: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        return (result - original).square().flatten(2).mean(2).sqrt()


class HounsfieldBias(HounsfieldMetric):
    """Mean of ``y_pred - y`` in HU."""

    def _measure(self, result: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        return (result - original).flatten(2).mean(2)


class WindowedPSNR(HounsfieldMetric):
    """Peak signal-to-noise ratio in dB; the data range is the width of the window.

    It is NaN for an image without error, which MONAI's reductions ignore.
    """

    def _measure(self, result: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        rmse = (result - original).square().flatten(2).mean(2).sqrt()
        psnr = 20 * torch.log10(self.window.width / rmse)
        return torch.where(rmse > 0, psnr, torch.nan)


class WindowedSSIM(HounsfieldMetric):
    """Mean SSIM of images or volumes; see `ct_vae.evaluation.metrics.similarity.ssim`."""

    def _measure(self, result: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        flat = original.ndim == 4
        found = [
            [self._similarity(a, b, flat) for a, b in zip(one, other, strict=True)]
            for one, other in zip(original.cpu().numpy(), result.cpu().numpy(), strict=True)
        ]
        return torch.tensor(found, dtype=torch.float64, device=original.device)

    def _similarity(
        self, original: np.ndarray[Any, Any], result: np.ndarray[Any, Any], flat: bool
    ) -> float:
        # An image is a volume of one slice.
        images = (original[None], result[None]) if flat else (original, result)
        limits = (self.window.low, self.window.high)
        everywhere = [np.ones(images[0].shape, dtype=np.bool_)]
        (found,) = map_means(images, limits, everywhere, (not flat, flat))
        value = found.axial if flat else found.volume
        assert value is not None
        return value
