"""Do these values look like CT in Hounsfield units? Refusals on strong evidence only.

Air lies at -1000 HU, fat near -100, water at 0 and soft tissue up to 100, each as wide as the
noise of a scanner. Normalized, shifted or scaled values break that pattern in one of the ways
below. Crops without air, clipped values and metal are CT as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.io.hounsfield.evidence import PEAK_WIDTH, Evidence, distinct_values
from ct_vae.io.hounsfield.padding import PADDING_HU, Padding

_FORCE = "if it is CT in HU all the same, --force reads it"
_EXPORT = f"export it in HU; {_FORCE}"
_FEW_VALUES = 5

# Z-scores, HU / 1000, attenuation per cm and the like stay within this, a volume in HU does not.
_SMALL = 20
# Beyond this share, values in the padding's range that differ from each other are no padding.
_SPREAD = 0.02
# A CT is noise around a few tissues: 6 HU at its peak hold more than this.
_STRETCHED = 0.01
_PEAKED = 3
_EIGHT_BIT = 255
# Two windows of 6 HU, the most common ones, never hold more than this of a CT without air.
_SHARP = 0.6
_NEAR_ZERO = 8

Problem = tuple[str, str]


def implausibility(
    voxels: NDArray[Any], padding: Padding | None = None, *, excerpt: bool = False
) -> InputError | None:
    """Return the reason why values cannot be CT in HU.

    Args:
        voxels: Finite values of any shape, a volume or several patches, padding already settled.
        padding: The padding that was settled.
        excerpt: Whether the values are patches, which may well be air alone or one value.

    Returns:
        An error with the statistics that led to it and with the fix, or ``None``.
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
    """Refuse values that cannot be CT in HU.

    Args:
        voxels: As `implausibility` takes them.
        padding: The padding that was settled.

    Raises:
        InputError: With the statistics that led to it, and the fix.
    """
    problem = implausibility(voxels, padding)
    if problem:
        raise problem


def _padding_alone() -> Problem:
    return f"is nothing but padding: no voxel is above {PADDING_HU} HU", _FORCE


def _uniform(seen: Evidence) -> Problem | None:
    if seen.low == seen.high:
        return f"is constant: every voxel is {seen.low:g}", _FORCE
    if seen.high <= -900:
        return f"is nothing but air: {_range(seen)}", _FORCE
    return None


def _few_values(voxels: NDArray[Any], outside: Any) -> Problem | None:
    values = distinct_values(voxels, outside, _FEW_VALUES)
    if values is None or (min(values) >= -1 and max(values) <= 1):
        return None
    listed = ", ".join(f"{value:g}" for value in values)
    return f"is not CT: it has only {len(values)} distinct values ({listed}), as a mask has", _FORCE


def _small(seen: Evidence, _: Padding | None) -> Problem | None:
    """Zero to one, minus one to one, z-scores, HU / 1000, logarithms, attenuation per cm."""
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
    """HU + 1000 or HU + 1024."""
    air, between = seen.share(-50, 100), seen.share(300, 800)
    # Bone that is clipped at 1000 HU is no soft tissue.
    clipped = seen.share(seen.high, seen.high) if 850 <= seen.high <= 1200 else 0.0
    tissue = seen.share(850, 1200) - clipped
    positive = seen.share(-1, seen.high)
    if tissue <= 0.1 or tissue <= 2 * between or seen.quantile(0.001) <= -200:
        return None
    # A bone among muscles has fat beside it, which air has not.
    if positive < 0.995 and (air <= 0.02 or (tissue <= 0.25 and seen.quantile(0.01) <= -60)):
        return None
    return (
        f"seems to be HU + 1024, its rescale intercept lost: {_range(seen)}, {air:.0%} of them in "
        f"[-50, 100] and {tissue:.0%} in [850, 1200]",
        f"--hu-offset -1024 corrects that; {_FORCE}",
    )


def _positive(seen: Evidence, _: Padding | None) -> Problem | None:
    """Pictures, MR, PET, label maps, unsigned CT."""
    if seen.low < -1:
        return None
    kind = "an 8-bit picture" if seen.high <= _EIGHT_BIT else "MR, PET, a label map or shifted CT"
    return (
        f"is not in HU: no value is negative, it may be {kind}: {_range(seen)}",
        f"export it in HU, or correct a lost intercept with --hu-offset; {_FORCE}",
    )


def _spread(seen: Evidence, padding: Padding | None) -> Problem | None:
    """HU - 1024, HU x 10 and more: much of the body lies where only padding should."""
    if padding is None or padding.spread <= _SPREAD or padding.spread <= 0.25 * padding.share:
        return None
    facts = f"{padding.spread:.1%} of all voxels have various values at or below {PADDING_HU}"
    if seen.share(-150, 150) < 0.02 and seen.share(-1300, -800) > 0.1:
        return (
            f"seems to be HU - 1024, its rescale intercept applied twice: {_range(seen)}, under "
            f"2 % of them within 150 of 0, and {facts}, where padding has one",
            f"--hu-offset 1024 corrects that; {_FORCE}",
        )
    return f"is not in HU but as if scaled up: {facts}, where padding has one value", _EXPORT


def _picture(seen: Evidence, _: Padding | None) -> Problem | None:
    """Eight-bit gray values, from which a constant or their mean was taken."""
    width = seen.high - seen.low
    few = max(5, 5e-4 * seen.values.size)
    # The lower end of a signed byte, held by many voxels, proves it with few distinct values too.
    byte = seen.low == -128 and seen.high <= 127 and seen.count(-128) > few
    if not seen.step or width > _EIGHT_BIT + 0.01 or seen.low < -_EIGHT_BIT:
        return None
    if not (seen.noisy or byte):
        return None
    floor = seen.share(seen.low, seen.low + 2)
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
        f"is not in HU but as if an 8-bit picture, shifted: {_range(seen)} in whole steps, "
        f"{floor:.1%} of them at the lower end",
        _EXPORT,
    )


def _scaled_up(seen: Evidence, _: Padding | None) -> Problem | None:
    """HU x 10: all values are multiples of it, or no value is as common as tissue is."""
    if not seen.noisy:
        return None
    width = seen.high - seen.low
    if seen.step >= 5 and width > 20 * seen.step:
        return f"is not in HU: {_range(seen)} in steps of {seen.step}, as if multiplied", _EXPORT
    share = seen.commonest
    middle = seen.quantile(0.99) - seen.quantile(0.01)
    # Peaked, for values that are spread evenly are no multiple of a CT either.
    if share < _STRETCHED and share * middle > _PEAKED * PEAK_WIDTH:
        return (
            f"is not in HU but as if scaled up: {_range(seen)}, and no 6 HU hold more than "
            f"{share:.2%} of them",
            _EXPORT,
        )
    return None


def _scaled_down(seen: Evidence, _: Padding | None) -> Problem | None:
    """Attenuation per m, percent, gray values with fractions: peaks too sharp and too near."""
    if not seen.noisy or seen.share(-1100, -900) > 0.005:
        return None
    first, second = seen.peaks
    together = first.share + second.share
    middle = seen.quantile(0.99) - seen.quantile(0.01)
    if together > _SHARP and second.share > 0.03 and middle >= _SMALL:
        return (
            f"is not in HU: {_range(seen)}, and the 6 HU around {first.place:.0f} and around "
            f"{second.place:.0f} hold {together:.0%} of them, as if scaled down",
            _EXPORT,
        )
    if seen.quantile(0.005) < -60 or seen.share(60, seen.high) <= 0.1:
        return None
    ground = first if abs(first.place) <= _NEAR_ZERO else second
    flat = seen.share(-_NEAR_ZERO, _NEAR_ZERO)
    if abs(ground.place) <= _NEAR_ZERO and flat > 0.1:
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
