"""Evaluation protocols of published work, for comparable results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ct_vae.evaluation.measure import Plan
from ct_vae.evaluation.windows import Window

Masking = Literal["clinical", "body", "all"]


@dataclass(frozen=True)
class Protocol:
    """An evaluation protocol.

    Attributes:
        plan: Metrics to compute.
        masking: ``clinical`` for body and field of view, ``body``, or ``all`` for every voxel.
        about: One-line description.
    """

    plan: Plan
    masking: Masking
    about: str


# L is 4024 HU.
_SYNTHRAD = Window("synthrad", 4024, 988)
# [-1000, 1000] HU is [0, 1]; PSNR and SSIM are the same in either unit.
_MAISI = Window("maisi", 2000, 0)
_OPENVAE = Window("openvae", 2000, 0)

PROTOCOLS = {
    "synthrad": Protocol(
        Plan((_SYNTHRAD,), (_SYNTHRAD,), ("errors", "ms_ssim"), False, True),
        "body",
        "SynthRAD: clipped to [-1024, 3000] HU, inside the body; MAE, PSNR with a data range of "
        "4024 HU, MS-SSIM with luminance at every scale",
    ),
    "maisi": Protocol(
        Plan((_MAISI,), (_MAISI,), ("errors", "ssim"), False),
        "all",
        "MAISI: [-1000, 1000] HU to [0, 1], all voxels; errors are in HU, and PSNR and SSIM "
        "have a data range of 2000 HU (1 in model units)",
    ),
    "openvae": Protocol(
        Plan((_OPENVAE,), (_OPENVAE,), ("errors", "openvae"), False),
        "all",
        "OpenVAE: [-1000, 1000] HU to [0, 1], all voxels; PSNR with a data range of 2000 HU, SSIM "
        "over uniform cubes of 7 voxels, MAE_100 = 100 (1 - MAE), Detail_100 = 100 times the "
        "correlation of gradient magnitudes; errors are in HU",
    ),
}
