"""Compression ratio of a latent, from the sizes of the files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ct_vae.io import write_latent, write_volume
from ct_vae.io.temporary import make_temporary_folder
from ct_vae.latent import Latent
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
    """

    voxels: int
    values: int
    latent_bytes: int
    nifti_bytes: int

    @property
    def bits_per_voxel(self) -> float:
        """Bits on disk per voxel of the original."""
        return 8 * self.latent_bytes / self.voxels

    def line(self) -> dict[str, float]:
        """Return sizes and compression ratios by name."""
        return {
            "voxels": self.voxels,
            "latent_values": self.values,
            "voxels_per_value": self.voxels / self.values,
            "latent_bytes": self.latent_bytes,
            "source_nifti_gz_bytes": self.nifti_bytes,
            "bits_per_voxel": self.bits_per_voxel,
            "ratio_to_int16": self.voxels * _INT16_BYTES / self.latent_bytes,
            "ratio_to_nifti_gz": self.nifti_bytes / self.latent_bytes,
        }


def measure_compression(volume: Volume, latent: Latent) -> Compression:
    """Measure the file sizes of an original and its latent in a temporary folder.

    Raises:
        OutputError: If the temporary folder cannot be written or is full.
    """
    with make_temporary_folder() as name:
        folder = Path(name)
        write_latent(latent, folder / "case_latent.nii.gz")
        latent_bytes = sum(path.stat().st_size for path in folder.iterdir())
        write_volume(volume, folder / "case.nii.gz")
        nifti_bytes = (folder / "case.nii.gz").stat().st_size
    return Compression(volume.voxels.size, latent.array.size, latent_bytes, nifti_bytes)
