"""Measuring a pair of volumes: ours beside MONAI's PSNR and SSIM, for the same windows.

Usage: python scripts/bench.py evaluate NAME... [--size X Y Z] [--json FILE] [--repetitions N]

MONAI's metrics work in float32 and average SSIM over voxels whose Gaussian stays inside; ours in
float64 over all voxels. ``agreement`` compares PSNR and SSIM together with MONAI's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from bench import Case, Peers, compare, parser_for, peak_rise_mb, run_named
from monai.metrics import PSNRMetric, SSIMMetric

from ct_vae.evaluation.measure import COMPARED_WINDOWS, SIMILARITY_WINDOWS, Plan, measure_pair
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.windows import Window
from ct_vae.grid import Grid
from ct_vae.masks import everything
from ct_vae.volume import Volume

_sides = (256, 256, 100)


def _pair() -> Pair:
    """A body with noise in air, and the same with more noise."""
    rng = np.random.default_rng(0)
    grid = Grid(_sides, np.diag([0.7, 0.7, 1.0, 1.0]))
    x, y = (np.linspace(-1, 1, n) for n in _sides[:2])
    plane = np.where(x[:, None] ** 2 / 0.6 + y[None] ** 2 / 0.4 < 1, 40, -1000)
    original = np.empty(_sides, np.int16, order="F")
    result = np.empty(_sides, np.int16, order="F")
    for z in range(_sides[2]):
        original[..., z] = plane + 25 * rng.standard_normal(plane.shape)
        result[..., z] = original[..., z] + 8 * rng.standard_normal(plane.shape)
    return Pair(Volume(original, grid), Volume(result, grid))


def _ours(pair: Pair) -> torch.Tensor:
    plan = Plan(COMPARED_WINDOWS, SIMILARITY_WINDOWS, ("errors", "ssim"), unclipped=False)
    rows = measure_pair(pair, plan, [everything(pair.reference)], ("case", "result"))
    psnr = [row.psnr for row in rows]
    ssim = [row.more["ssim"] for row in rows if "ssim" in row.more]
    return torch.tensor([*psnr, *ssim])


def _theirs(pair: Pair) -> torch.Tensor:
    def tensor(volume: Volume, window: Window) -> torch.Tensor:
        voxels = torch.from_numpy(volume.voxels)[None, None].float()
        return voxels.clamp_(window.low, window.high).sub_(window.low)

    found = []
    for metric, windows in (("psnr", COMPARED_WINDOWS), ("ssim", SIMILARITY_WINDOWS)):
        for window in windows:
            a, b = tensor(pair.reference, window), tensor(pair.reconstruction, window)
            if metric == "psnr":
                found.append(PSNRMetric(max_val=window.width)(b, a))
            else:
                found.append(SSIMMetric(spatial_dims=3, data_range=window.width)(b, a))
    return torch.stack([value.flatten()[0] for value in found])


def pair(repetitions: int) -> Iterator[Case]:
    """PSNR in four windows and SSIM of the volume in two, over all voxels."""
    measured = _pair()
    peers: Peers = {"MONAI": lambda: _theirs(measured), "ct_vae": lambda: _ours(measured)}
    case = compare(f"{' x '.join(map(str, _sides))}, int16", peers, repetitions)
    case.memory_mb = {peer: peak_rise_mb(run) for peer, run in peers.items()}
    yield case


def main() -> None:
    """Run the named benchmarks."""
    global _sides  # noqa: PLW0603 - benchmarks take nothing but repetitions
    parser = parser_for({"pair": pair}, __doc__ or "")
    parser.add_argument("--size", type=int, nargs=3, default=_sides, metavar=("X", "Y", "Z"))
    parser.add_argument("--threads", type=int, help="of PyTorch; its own choice by default")
    options = parser.parse_args()
    _sides = (options.size[0], options.size[1], options.size[2])
    if options.threads:
        torch.set_num_threads(options.threads)
    with torch.inference_mode():
        run_named({"pair": pair}, options)


if __name__ == "__main__":
    main()
