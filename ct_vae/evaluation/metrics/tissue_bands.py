"""HU ranges of tissues, for the bias per tissue."""

from __future__ import annotations

from ct_vae.evaluation.windows import Window


def _band(name: str, low: float, high: float) -> Window:
    return Window(f"band_{name}", high - low, (low + high) / 2)


# Adjacent ranges of whole HU, from air to metal.
TISSUE_BANDS = (
    _band("air", -1024, -951),
    _band("lung", -950, -501),
    _band("fat", -200, -31),
    _band("fluid", -30, 20),
    _band("soft_tissue", 21, 100),
    _band("contrast_or_spongy_bone", 101, 300),
    _band("bone", 301, 1500),
    _band("dense_bone_or_metal", 1501, 3000),
)
