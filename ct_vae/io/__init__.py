"""Files in and out: volumes, latents, discovery, atomic writes; never imports torch."""

from ct_vae.io.dicom.scan import FoundSeries, scan_series
from ct_vae.io.latent.read_latent import read_latent
from ct_vae.io.latent.write_latent import write_latent
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.volumes import read_volume, write_volume
from ct_vae.volume import volume_sha256

__all__ = [
    "FoundSeries",
    "ReadOptions",
    "read_latent",
    "read_volume",
    "scan_series",
    "volume_sha256",
    "write_latent",
    "write_volume",
]
