"""Names and colors of the model and of the baselines in plots."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodStyle:
    """Appearance of a method.

    Attributes:
        label: Name in legends.
        color: Color as ``#rrggbb``, distinguishable on light and dark ground and with impaired
            color vision (Okabe and Ito 2008, adapted).
    """

    label: str
    color: str


_MODEL = MethodStyle("model", "#d4451d")
METHODS = {
    "model": _MODEL,
    "reconstruction": _MODEL,
    "klt": MethodStyle("KLT", "#0a8f6c"),
    "jpeg2000": MethodStyle("JPEG 2000", "#2f7fc4"),
    "sperr": MethodStyle("SPERR", "#a06fc2"),
    "hevc": MethodStyle("HEVC", "#8a8f98"),
    "resample": MethodStyle("cubic resampling", "#b58a1b"),
    "identity": MethodStyle("preprocessing alone", "#8a8f98"),
    "mean": MethodStyle("best constant", "#8a8f98"),
}
