"""Figures derived from the rate-distortion curves of cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ct_vae.evaluation.rate_distortion.curve import (
    REGIONS,
    Curve,
    Region,
    bd_rate,
    crossings,
    mean_curve,
)

MODEL = "model"
# Relative rise of the RMSE at which the rate of a model is stated.
RISE = 0.01


@dataclass(frozen=True)
class CaseCurves:
    """Curves of one case.

    Attributes:
        case: Name of the case.
        curves: Curves of the model, if any, and of the codecs.
        errors: RMSE of the unquantized reconstruction per region, in HU.
        bits_on_disk: Bits per voxel of the latent file as written by default; ``None`` if unknown.
    """

    case: str
    curves: tuple[Curve, ...]
    errors: Mapping[Region, float]
    bits_on_disk: float | None = None

    def curve(self, name: str) -> Curve | None:
        """Return the curve of a method, if there is one."""
        return next((curve for curve in self.curves if curve.name == name), None)

    def bits_at_rise(self, region: Region) -> float | None:
        """Return the bits per voxel at which the RMSE of the model is 1 % above its lowest."""
        model = self.curve(MODEL)
        return None if model is None else model.rate_at((1 + RISE) * self.errors[region], region)

    def lines(self) -> list[dict[str, Any]]:
        """Return one line per point, for ``rate_distortion.csv``."""
        return [
            {
                "case": self.case,
                "method": curve.name,
                "level": point.level,
                "bits_per_voxel": point.bits_per_voxel,
                "rmse_body": point.body,
                "rmse_soft_tissue": point.soft_tissue,
            }
            for curve in self.curves
            for point in curve.points
        ]


def summarize_curves(cases: Sequence[CaseCurves]) -> dict[str, Any]:
    """Summarize the curves of all cases, as medians over cases.

    Returns:
        Mapping with ``cases``, ``bits_on_disk`` of the model, and for each region
        ``bits_at_1_percent`` and ``methods``. These list for each other method the Bjontegaard
        delta rate of the model in percent (``bd_rate``; negative means fewer bits), the rate at
        which the method has the error of the model (``bits_at_equal_error``), and the rates at
        which their mean curves cross (``crossings``).
    """
    return {
        "cases": len(cases),
        "bits_on_disk": _median([case.bits_on_disk for case in cases]),
        **{region: _of_region(cases, region) for region in REGIONS},
    }


def mean_curves(cases: Sequence[CaseCurves], region: Region) -> list[Curve]:
    """Return the mean curve of each method; see `mean_curve`."""
    names = dict.fromkeys(curve.name for case in cases for curve in case.curves)
    found = (
        mean_curve([curve for case in cases if (curve := case.curve(name))], region)
        for name in names
    )
    return [curve for curve in found if curve is not None]


def _of_region(cases: Sequence[CaseCurves], region: Region) -> dict[str, Any]:
    means = {curve.name: curve for curve in mean_curves(cases, region)}
    names = dict.fromkeys(curve.name for case in cases for curve in case.curves)
    return {
        "bits_at_1_percent": _median([case.bits_at_rise(region) for case in cases]),
        "methods": [_against(cases, means, name, region) for name in names if name != MODEL],
    }


def _against(
    cases: Sequence[CaseCurves], means: Mapping[str, Curve], name: str, region: Region
) -> dict[str, Any]:
    deltas, equal = [], []
    for case in cases:
        model, other = case.curve(MODEL), case.curve(name)
        deltas.append(bd_rate(model, other, region) if model and other else None)
        equal.append(other.rate_at(case.errors[region], region) if other else None)
    both = MODEL in means and name in means
    return {
        "method": name,
        "bd_rate": _median(deltas),
        "bits_at_equal_error": _median(equal),
        "crossings": crossings(means[MODEL], means[name], region) if both else [],
    }


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
