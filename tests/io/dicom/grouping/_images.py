"""Headers of synthetic slices, without files behind them."""

from __future__ import annotations

from pathlib import Path

from ct_vae.io.dicom.grouping_attributes import NO_ATTRIBUTES
from ct_vae.io.dicom.image_header import ImageHeader
from ct_vae.io.dicom.pixel_format import PixelFormat

AXIAL = (1.0, 0, 0, 0, 1.0, 0)
SAGITTAL = (0, 1.0, 0, 0, 0, -1.0)


def pixels(rows=12, columns=10):
    return PixelFormat(rows, columns, 16, 16, True, None, False, False, "")


def header(k=0, z=0.0, *, attributes=None, name=None, folder="a", **changes):
    """A slice at ``z`` mm, with attributes by name."""
    facts = {
        "path": Path(folder) / (name or f"{k:04d}"),
        "frame": 0,
        "frames": 1,
        "place": None,
        "pixels": pixels(),
        "series": "1.2.3",
        "number": 3,
        "modality": "CT",
        "skip": "",
        "uid": f"1.2.4.{name or k}",
        "instance": k + 1,
        "position": (-10.0, -20.0, float(z)),
        "orientation": AXIAL,
        "spacing": (0.75, 0.5),
        "slope": 1.0,
        "inter": -1024.0,
    }
    return ImageHeader(**facts | changes, attributes=NO_ATTRIBUTES._replace(**(attributes or {})))


def stack(n=12, step=2.0, start=0.0, *, prefix="", attributes=None, **changes):
    """Evenly spaced slices; a attribute may be a function of the index."""
    return [
        header(
            k,
            start + k * step,
            name=f"{prefix}{k:04d}",
            attributes={m: v(k) if callable(v) else v for m, v in (attributes or {}).items()},
            **{c: v(k) if callable(v) else v for c, v in changes.items()},
        )
        for k in range(n)
    ]


def outcome(group):
    """``ok``, ``refused``, ``skipped`` or ``short``, and how many images."""
    if group.skip:
        return "skipped", len(group.images)
    if group.problem:
        return "refused", len(group.images)
    return "short" if group.short else "ok", len(group.images)


def outcomes(groups):
    return sorted(map(outcome, groups))
