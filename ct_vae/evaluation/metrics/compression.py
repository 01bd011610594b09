"""Compression ratio of a latent, from the sizes of the files."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from ct_vae.io import write_latent, write_volume
from ct_vae.io.latent.coded import coded_bytes
from ct_vae.io.latent.storage import store
from ct_vae.io.temporary import make_temporary_folder
from ct_vae.latent import Latent, StepResponse
from ct_vae.volume import Volume

_INT16_BYTES = 2


@dataclass(frozen=True)
class Compression:
    """Sizes of one case.

    Attributes:
        voxels: Number of voxels of the original.
        values: Number of values of the latent.
        latent_bytes: Size of the compressed latent file and its record, as written by ``encode``.
        nifti_bytes: Size of the original as compressed NIfTI.
        coded_bytes: Size of a coded file whose predicted rise of the RMSE is 1 %; ``None`` if the
            response of the decoder to rounding is unknown.
    """

    voxels: int
    values: int
    latent_bytes: int
    nifti_bytes: int
    coded_bytes: int | None = None

    @property
    def bits_per_voxel(self) -> float:
        """Bits on disk per voxel of the original."""
        return 8 * self.latent_bytes / self.voxels

    @property
    def bits_per_voxel_at_1_percent(self) -> float | None:
        """Bits of the coded file per voxel of the original."""
        return None if self.coded_bytes is None else 8 * self.coded_bytes / self.voxels

    def line(self) -> dict[str, float | None]:
        """Return sizes and compression ratios by name."""
        return {
            "voxels": self.voxels,
            "latent_values": self.values,
            "voxels_per_value": self.voxels / self.values,
            "latent_bytes": self.latent_bytes,
            "source_nifti_gz_bytes": self.nifti_bytes,
            "bits_per_voxel": self.bits_per_voxel,
            "bits_per_voxel_at_1_percent": self.bits_per_voxel_at_1_percent,
            "ratio_to_int16": self.voxels * _INT16_BYTES / self.latent_bytes,
            "ratio_to_nifti_gz": self.nifti_bytes / self.latent_bytes,
        }


def measure_compression(volume: Volume, latent: Latent) -> Compression:
    """Measure the file sizes of an original and its latent in a temporary folder.

    Args:
        volume: Original volume.
        latent: Its latent; the size at a rise of 1 % needs the response to rounding in its record.

    Raises:
        OutputError: If the temporary folder cannot be written or is full.
    """
    with make_temporary_folder() as name:
        folder = Path(name)
        write_latent(latent, folder / "case_latent.nii.gz")
        latent_bytes = sum(path.stat().st_size for path in folder.iterdir())
        write_volume(volume, folder / "case.nii.gz")
        nifti_bytes = (folder / "case.nii.gz").stat().st_size
    step = step_of_rise(latent.record.step_response)
    coded = None if step is None else code_latent(latent, step)[1]
    return Compression(volume.voxels.size, latent.array.size, latent_bytes, nifti_bytes, coded)


def step_of_rise(response: StepResponse | None, rise: float = 0.01) -> float | None:
    """Return the step, in standard deviations of the posterior, with a predicted rise of the RMSE.

    It is the inverse of `StepResponse.rmse_rise`; ``None`` if the response is unknown or zero.
    """
    if response is None or not response.change_hu:
        return None
    return math.sqrt((1 + rise) ** 2 - 1) * response.rmse_hu / response.change_hu or None


def code_latent(latent: Latent, step: float) -> tuple[Latent, int]:
    """Return the latent that a reader of a coded file gets, and the size of the file in bytes.

    The file contains its record.

    Args:
        latent: Posterior means with the standard deviation of the posterior in their record.
        step: Standard deviation of the rounding error, in those of the posterior.
    """
    stored = store(latent, "coded", step)
    record = latent.record.model_copy(update={"quantisation": stored.how})
    size = len(coded_bytes(record, stored.numbers))
    return replace(latent, array=stored.values()), size
