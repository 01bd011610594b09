"""Computation of the selected metrics for one pair of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ct_vae.evaluation.metrics.bland_altman import region_agreement
from ct_vae.evaluation.metrics.gradient_error import gradient_errors
from ct_vae.evaluation.metrics.linearity import linearities
from ct_vae.evaluation.metrics.metric_rows import MetricRow, error_rows
from ct_vae.evaluation.metrics.openvae import openvae_scores
from ct_vae.evaluation.metrics.pair import SLAB_VOXELS, Pair
from ct_vae.evaluation.metrics.similarity.lpips import load_network, lpips_distance
from ct_vae.evaluation.metrics.similarity.ms_ssim import multi_scale_ssim, scales_of
from ct_vae.evaluation.metrics.similarity.ssim import similarities
from ct_vae.evaluation.metrics.tissue_bands import TISSUE_BANDS
from ct_vae.evaluation.metrics.windowed_errors import Where
from ct_vae.evaluation.texture.noise import measure_texture
from ct_vae.evaluation.windows import WINDOWS, Window
from ct_vae.masks import Mask

COMPARED_WINDOWS = tuple(WINDOWS[name] for name in ("full", "lung", "soft_tissue", "bone"))
SIMILARITY_WINDOWS = (WINDOWS["full"], WINDOWS["soft_tissue"])
DEFAULT_METRICS = ("errors", "ssim", "ssim_axial", "texture")
METRICS = (
    *DEFAULT_METRICS,
    "ms_ssim",
    "gradient",
    "linearity",
    "tissue_bands",
    "regions",
    "seams",
)

_TEXTURE = (
    "noise_hu",
    "noise_hu_reconstruction",
    "noise_ratio",
    "frequency_shift",
    "high_share",
    "high_share_reconstruction",
)

Numbers = dict[str, float | None]
# By window and index of the mask.
Found = dict[tuple[Window, int], Numbers]


@dataclass(frozen=True)
class Plan:
    """Metrics to compute.

    Attributes:
        windows: CT windows for errors, gradients and linearity.
        similar_in: Windows, of those above, for SSIM and MS-SSIM.
        metrics: Names from `METRICS`, or ``openvae`` for the scores of that protocol, which are
            over all voxels; ``errors`` are always computed.
        unclipped: True to add rows for the mask ``in_window``.
        luminance_everywhere: True to use the luminance term of MS-SSIM at each scale.
        lpips_weights: Weights for the perceptual distance; ``None`` if it is not computed.
        rate_distortion: True to measure rate-distortion curves of the model and of image codecs.
    """

    windows: tuple[Window, ...] = COMPARED_WINDOWS
    similar_in: tuple[Window, ...] = SIMILARITY_WINDOWS
    metrics: tuple[str, ...] = DEFAULT_METRICS
    unclipped: bool = True
    luminance_everywhere: bool = False
    lpips_weights: Path | None = None
    rate_distortion: bool = False


def measure_pair(
    pair: Pair,
    plan: Plan,
    masks: Sequence[Mask],
    names: tuple[str, str],
    *,
    slab_voxels: int = SLAB_VOXELS,
) -> list[MetricRow]:
    """Compute all metrics of a pair, as one row per window and mask.

    Args:
        pair: Original and reconstruction.
        plan: Metrics to compute.
        masks: Masks to evaluate in. The first is used for ``in_window``, tissue bands and regions.
        names: Name of the case and of the reconstruction or baseline.
        slab_voxels: Voxels converted to float64 at once; affects memory, not results.

    Raises:
        InputError: If a mask has another shape, or a value is not finite.
    """
    inner = [Where(masks[0], in_window=True)]
    places = [Where(mask) for mask in masks] + (inner if plan.unclipped else [])
    rows = error_rows(pair, plan.windows, places, names, slab_voxels)
    if "tissue_bands" in plan.metrics:
        rows += error_rows(pair, TISSUE_BANDS, inner, names, slab_voxels)
    found = _more(pair, plan, masks, slab_voxels)
    at = {
        (window.name, mask.name): found.get((window, place), {})
        for window in plan.windows
        for place, mask in enumerate(masks)
    }
    return [replace(row, more=at.get((row.window, row.mask), {})) for row in rows]


def _more(pair: Pair, plan: Plan, masks: Sequence[Mask], slab_voxels: int) -> Found:
    found: Found = {}

    def put(window: Window, values: Sequence[Numbers]) -> None:
        for place, numbers in enumerate(values):
            found.setdefault((window, place), {}).update(numbers)

    for window in plan.windows:
        if window in plan.similar_in and {"ssim", "ssim_axial"} & set(plan.metrics):
            put(window, _similar(pair, plan, window, masks, slab_voxels))
        if window in plan.similar_in and "ms_ssim" in plan.metrics:
            put(window, _multi_scale(pair, plan, window, masks, slab_voxels))
        if "gradient" in plan.metrics:
            put(window, _gradients(pair, window, masks, slab_voxels))
        if "openvae" in plan.metrics:
            put(window, [openvae_scores(pair, window, slab_voxels=slab_voxels)])
        if "linearity" in plan.metrics:
            put(window, _lines(pair, window, masks, slab_voxels))
    if "regions" in plan.metrics:
        put(plan.windows[0], [_regions(pair, masks[0])])
    if "texture" in plan.metrics:
        put(plan.windows[0], [_texture(pair, masks[0])])
    if plan.lpips_weights is not None:
        network = load_network(plan.lpips_weights)
        put(plan.windows[0], [{"lpips": lpips_distance(pair, plan.windows[0], network)}])
    return found


def _similar(
    pair: Pair, plan: Plan, window: Window, masks: Sequence[Mask], slab_voxels: int
) -> list[Numbers]:
    volume, axial = ("ssim" in plan.metrics), ("ssim_axial" in plan.metrics)
    values = similarities(pair, window, masks, volume=volume, axial=axial, slab_voxels=slab_voxels)
    return [
        ({"ssim": v.volume} if volume else {}) | ({"ssim_axial": v.axial} if axial else {})
        for v in values
    ]


def _multi_scale(
    pair: Pair, plan: Plan, window: Window, masks: Sequence[Mask], slab_voxels: int
) -> list[Numbers]:
    scales = scales_of(pair.reference.grid.shape)
    if not scales:
        return [{} for _ in masks]
    name = f"ms_ssim_{scales}_scales" + ("_with_luminance" if plan.luminance_everywhere else "")
    values = multi_scale_ssim(
        pair,
        window,
        masks,
        scales=scales,
        luminance_everywhere=plan.luminance_everywhere,
        slab_voxels=slab_voxels,
    )
    return [{name: value} for value in values]


def _gradients(
    pair: Pair, window: Window, masks: Sequence[Mask], slab_voxels: int
) -> list[Numbers]:
    values = gradient_errors(pair, window, masks, slab_voxels=slab_voxels)
    return [
        {"gradient_mae": v.mae if v else None, "gradient_ratio": v.ratio if v else None}
        for v in values
    ]


def _lines(pair: Pair, window: Window, masks: Sequence[Mask], slab_voxels: int) -> list[Numbers]:
    values = linearities(pair, window, masks, slab_voxels=slab_voxels)
    return [
        {"slope": v.slope if v else None, "intercept": v.intercept if v else None} for v in values
    ]


def _regions(pair: Pair, mask: Mask) -> Numbers:
    agreement = region_agreement(pair, mask)
    low, high = agreement.limits or (None, None)
    return {
        "regions": float(agreement.regions),
        "regions_bias": agreement.bias,
        "regions_low": low,
        "regions_high": high,
    }


def _texture(pair: Pair, mask: Mask) -> Numbers:
    found = measure_texture(pair.reference, pair.reconstruction, mask)
    return {name: getattr(found, name) for name in _TEXTURE}
