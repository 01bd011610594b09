"""Names and colors of the model and of the baselines in plots."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodStyle:
    """Appearance of a method.

    Attributes:
        label: Name in plots and tables.
        color: Color as ``#rrggbb``, visible on light and dark ground.
        dashes: Lengths of dashes and gaps of its line in pixels, which distinguish curves
            without colors; empty for a solid line.
    """

    label: str
    color: str
    dashes: tuple[int, ...] = ()


_MODEL = MethodStyle("model", "#d4451d")
METHODS = {
    "model": _MODEL,
    "reconstruction": _MODEL,
    "klt": MethodStyle("KLT", "#0a8f6c", (8, 3)),
    "jpeg2000": MethodStyle("JPEG 2000", "#2f7fc4"),
    "sperr": MethodStyle("SPERR", "#a06fc2", (2, 2)),
    "hevc": MethodStyle("HEVC", "#8a8f98", (8, 2, 2, 2)),
    "resample": MethodStyle("resampling", "#b58a1b"),
}
