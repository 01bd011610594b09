"""Series derived from synthetic ones, as decoding writes them."""

import numpy as np
import pydicom

from ct_vae.io import read_volume, volume_sha256
from ct_vae.io.dicom.derived.elements import Derivation
from ct_vae.io.dicom.derived.source import opened_series
from ct_vae.io.dicom.derived.write import write_dicom
from ct_vae.latent import GridRecord, SourceRecord
from ct_vae.volume import Volume

DERIVATION = Derivation(16.0, "CT_VAE_KL", "lossy, derived, not for diagnosis: tested")
N = 5


def record_of(volume, kind="dicom"):
    return SourceRecord(
        sha256=volume_sha256(volume),
        grid=GridRecord.of(volume.grid),
        dtype="int16",
        format=kind,
    )


def decoded(grid, seed=0):
    """What a model might have made: fractions of HU, halves among them."""
    rng = np.random.default_rng(seed)
    voxels = (rng.integers(-2400, 4000, grid.shape) / 2).astype(np.float32)
    return Volume(voxels, grid, derived=True)


def derive(source, out, options=None, hu_offset=0.0, **wishes):
    """Write a derived series of the series in ``source``, as decoding does."""
    volume = read_volume(source, options)
    made = decoded(volume.grid)
    with opened_series([source], hu_offset) as found:
        write_dicom(made, found.template_of(record_of(volume)), out, DERIVATION, **wishes)
    return made


def slices_of(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
