"""Check that values are CT in Hounsfield units; they are refused on strong evidence only.

Air is at -1000 HU, fat near -100, water at 0 and soft tissue up to 100, each as wide as the noise
of a scanner. Normalized, shifted or scaled values violate this pattern in one of the ways below.
Crops without air, clipped values and metal are CT as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.io.hounsfield.hu_evidence import PEAK_WIDTH, Evidence, distinct_values
from ct_vae.io.hounsfield.padding import PADDING_HU, Padding

_FORCE = "--force reads it if it is CT in HU"
_EXPORT = f"export it in HU; {_FORCE}"
_FEW_VALUES = 5

# Z-scores, HU / 1000, attenuation per cm and similar values are within this, unlike HU.
_SMALL = 20
# Above this fraction, different values in the range of padding are not padding.
_SPREAD = 0.02
# A CT is noise around a few tissues: the 6 HU around its peak contain more than this.
_STRETCHED = 0.01
_PEAKED = 3
_EIGHT_BIT = 255
# The two most common windows of 6 HU never contain more than this of a CT without air.
_SHARP = 0.6
_NEAR_ZERO = 8

Problem = tuple[str, str]


def implausibility(
    voxels: NDArray[Any], padding: Padding | None = None, *, excerpt: bool = False
) -> InputError | None:
    """Return an error if values cannot be CT in HU.

    Args:
        voxels: Finite values of a volume or of patches, of any shape, with padding replaced.
        padding: The padding that was replaced.
        excerpt: True if the values are patches, which may be constant or only air.

    Returns:
        An error with the decisive statistics and a hint, or ``None``.
    """
    outside = padding.outside if padding else None
    evidence = Evidence.of(voxels, outside)
    uniform = _padding_alone() if evidence is None else _uniform(evidence)
    if evidence is None or uniform:
        return InputError(*uniform) if uniform and not excerpt else None
    problem = _few_values(voxels, outside)
    judged = evidence.without_background()
    for rule in _RULES:
        problem = problem or rule(judged, padding)
    return InputError(*problem) if problem else None


def refuse_implausible(voxels: NDArray[Any], padding: Padding | None = None) -> None:
    """Raise an error if values cannot be CT in HU.

    Args:
        voxels: Values as for `implausibility`.
        padding: The padding that was replaced.

    Raises:
        InputError: If the values are implausible; with the decisive statistics and a hint.
    """
    problem = implausibility(voxels, padding)
    if problem:
        raise problem


def _padding_alone() -> Problem:
    return f"is only padding: no voxel is above {PADDING_HU} HU", _FORCE


def _uniform(seen: Evidence) -> Problem | None:
    if seen.low == seen.high:
        return f"is constant: every voxel is {seen.low:g}", _FORCE
    if seen.high <= -900:
        return f"is only air: {_range(seen)}", _FORCE
    return None


def _few_values(voxels: NDArray[Any], outside: Any) -> Problem | None:
    values = distinct_values(voxels, outside, _FEW_VALUES)
    if values is None or (min(values) >= -1 and max(values) <= 1):
        return None
    listed = ", ".join(f"{value:g}" for value in values)
    return f"is not CT: it has only {len(values)} distinct values ({listed}), like a mask", _FORCE


def _small(seen: Evidence, _: Padding | None) -> Problem | None:
    """Detect values from 0 or -1 to 1, z-scores, HU / 1000, logarithms, attenuation per cm."""
    if seen.low >= -1 and seen.high <= 1:
        return f"is not in HU: {_range(seen)}, as if normalized or a mask", _EXPORT
    if seen.quantile(0.001) >= -_SMALL and seen.quantile(0.999) <= _SMALL:
        return (
            f"is not in HU: {_range(seen)}, 99.8 % of them within {_SMALL} of 0, as if normalized, "
            "a z-score, HU / 1000 or attenuation",
            _EXPORT,
        )
    return None


def _shifted(seen: Evidence, _: Padding | None) -> Problem | None:
    """Detect HU + 1000 and HU + 1024."""
    air, between = seen.fraction(-50, 100), seen.fraction(300, 800)
    # Bone clipped at 1000 HU is not soft tissue.
    clipped = seen.fraction(seen.high, seen.high) if 850 <= seen.high <= 1200 else 0.0
    tissue = seen.fraction(850, 1200) - clipped
    positive = seen.fraction(-1, seen.high)
    if tissue <= 0.1 or tissue <= 2 * between or seen.quantile(0.001) <= -200:
        return None
    # A bone is surrounded by fat, unlike shifted soft tissue.
    if positive < 0.995 and (air <= 0.02 or (tissue <= 0.25 and seen.quantile(0.01) <= -60)):
        return None
    return (
        f"seems to be HU + 1024 without its rescale intercept: {_range(seen)}, {air:.0%} of them "
        f"in [-50, 100] and {tissue:.0%} in [850, 1200]",
        f"--hu-offset -1024 corrects that; {_FORCE}",
    )


def _positive(seen: Evidence, _: Padding | None) -> Problem | None:
    """Detect 8-bit images, MR, PET, label maps and unsigned CT."""
    if seen.low < -1:
        return None
    kind = "an 8-bit image" if seen.high <= _EIGHT_BIT else "MR, PET, a label map or shifted CT"
    return (
        f"is not in HU: no value is negative, it may be {kind}: {_range(seen)}",
        f"export it in HU, or correct a lost intercept with --hu-offset; {_FORCE}",
    )


def _spread(seen: Evidence, padding: Padding | None) -> Problem | None:
    """Detect HU - 1024, HU x 10 and similar, by body voxels in the range of padding."""
    if padding is None or padding.spread <= _SPREAD or padding.spread <= 0.25 * padding.fraction:
        return None
    facts = f"{padding.spread:.1%} of all voxels have various values at or below {PADDING_HU}"
    if seen.fraction(-150, 150) < 0.02 and seen.fraction(-1300, -800) > 0.1:
        return (
            f"seems to be HU - 1024, with its rescale intercept applied twice: {_range(seen)}, "
            f"under 2 % of them within 150 of 0, and {facts}, unlike padding, which has one value",
            f"--hu-offset 1024 corrects that; {_FORCE}",
        )
    return f"seems to be scaled up from HU: {facts}, unlike padding, which has one value", _EXPORT


def _picture(seen: Evidence, _: Padding | None) -> Problem | None:
    """Detect 8-bit gray values from which a constant or their mean was subtracted."""
    width = seen.high - seen.low
    few = max(5, 5e-4 * seen.values.size)
    # Many voxels at the lower end of a signed byte are proof even with few distinct values.
    byte = seen.low == -128 and seen.high <= 127 and seen.count(-128) > few
    if not seen.step or width > _EIGHT_BIT + 0.01 or seen.low < -_EIGHT_BIT:
        return None
    if not (seen.noisy or byte):
        return None
    floor = seen.fraction(seen.low, seen.low + 2)
    signs = (
        abs(seen.low - round(seen.low)) > 0.01,
        byte,
        seen.high == 127 and seen.count(127) > few,
        abs(width - _EIGHT_BIT) < 0.01 and floor > 0.005,
        # Values in HU are clipped at round numbers.
        seen.low % 5 != 0 and floor > 0.02,
    )
    if not any(signs):
        return None
    return (
        f"seems to be a shifted 8-bit image instead of HU: {_range(seen)} in whole steps, "
        f"{floor:.1%} of them at the lower end",
        _EXPORT,
    )


def _scaled_up(seen: Evidence, _: Padding | None) -> Problem | None:
    """Detect multiples of HU: values are multiples of a step, or none is as common as tissue."""
    if not seen.noisy:
        return None
    width = seen.high - seen.low
    if seen.step >= 5 and width > 20 * seen.step:
        return f"is not in HU: {_range(seen)} in steps of {seen.step}, as if multiplied", _EXPORT
    fraction = seen.commonest
    middle = seen.quantile(0.99) - seen.quantile(0.01)
    # Uniformly distributed values are not a multiple of a CT, hence the condition of a peak.
    if fraction < _STRETCHED and fraction * middle > _PEAKED * PEAK_WIDTH:
        return (
            f"seems to be scaled up from HU: {_range(seen)}, and no window of 6 HU has more than "
            f"{fraction:.2%} of them",
            _EXPORT,
        )
    return None


def _scaled_down(seen: Evidence, _: Padding | None) -> Problem | None:
    """Detect attenuation per m, percent and fractional gray values by peaks that are too sharp."""
    if not seen.noisy or seen.fraction(-1100, -900) > 0.005:
        return None
    first, second = seen.peaks
    together = first.fraction + second.fraction
    middle = seen.quantile(0.99) - seen.quantile(0.01)
    if together > _SHARP and second.fraction > 0.03 and middle >= _SMALL:
        return (
            f"is not in HU: {_range(seen)}, and the 6 HU around {first.center:.0f} and around "
            f"{second.center:.0f} have {together:.0%} of them, as if scaled down",
            _EXPORT,
        )
    if seen.quantile(0.005) < -60 or seen.fraction(60, seen.high) <= 0.1:
        return None
    ground = first if abs(first.center) <= _NEAR_ZERO else second
    flat = seen.fraction(-_NEAR_ZERO, _NEAR_ZERO)
    if abs(ground.center) <= _NEAR_ZERO and flat > 0.1:
        return (
            f"is not in HU: {_range(seen)}, with a background of {flat:.0%} near 0 where air "
            "should be at -1000",
            f"export it in HU, or correct a lost intercept with --hu-offset; {_FORCE}",
        )
    return None


def _range(seen: Evidence) -> str:
    return f"its values run from {seen.low:g} to {seen.high:g}"


_RULES: tuple[Callable[[Evidence, Padding | None], Problem | None], ...] = (
    _small,
    _shifted,
    _positive,
    _spread,
    _picture,
    _scaled_up,
    _scaled_down,
)
