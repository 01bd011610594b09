"""Reading and writing of CT volumes in all supported formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ct_vae.errors import ConfigError
from ct_vae.io.dicom.reader import read_dicom
from ct_vae.io.formats import path_kind
from ct_vae.io.mha_nrrd.reader import read_itk
from ct_vae.io.mha_nrrd.writer import write_metaimage, write_nrrd
from ct_vae.io.nifti.image import read_nifti, write_nifti
from ct_vae.io.read_options import ReadOptions
from ct_vae.volume import Volume

_WRITERS: dict[str, Callable[[Volume, str | Path], None]] = {
    ".nii.gz": write_nifti,
    ".nii": write_nifti,
    ".mha": write_metaimage,
    ".nrrd": write_nrrd,
}


def read_volume(path: str | Path, options: ReadOptions | None = None) -> Volume:
    """Read a CT volume in HU; the content of the file decides on the format, not its name.

    A folder or archive must contain one readable DICOM series; its other series are listed in the
    warnings of the volume.

    Args:
        path: A NIfTI, MetaImage (.mha, .mhd) or NRRD file (.nrrd, .nhdr), the `.hdr` of a NIfTI
            pair, an Enhanced CT image, a folder of DICOM files, or a zip or tar archive of one;
            ``PATH/#id`` selects one of several series.
        options: Options of reading; by default, unusual volumes are refused.

    Raises:
        NoInputError: If the file does not exist.
        InputError: If the file is damaged or cannot be read correctly.

    Examples:
        >>> import numpy as np
        >>> from ct_vae.io import read_volume, write_volume
        >>> from ct_vae.phantoms.make_phantom import make_phantom
        >>> phantom = make_phantom("head", seed=0, spacing_mm=8.0)
        >>> write_volume(phantom, "head.nii.gz")
        >>> volume = read_volume("head.nii.gz")
        >>> volume.grid.shape, volume.grid.spacing_mm
        ((26, 31, 28), (8.0, 8.0, 8.0))
        >>> np.array_equal(volume.voxels, phantom.voxels)
        True
    """
    path = Path(path)
    kind = path_kind(path)
    if kind in {"series", "archive", "dicom"} or path.is_dir():
        return read_dicom(path, options)
    if kind in {"metaimage", "nrrd"}:
        return read_itk(path, options)
    # The errors of this reader cover unknown formats.
    return read_nifti(path, options)


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume as int16 HU, atomically, in the format of the suffix.

    Raises:
        ConfigError: If the suffix is not .nii.gz, .nii, .mha or .nrrd.
        InputError: If a voxel is not finite or beyond int16.
        OutputError: If the file cannot be written in full.
    """
    name = Path(path).name.lower()
    for suffix, write in _WRITERS.items():
        if name.endswith(suffix):
            return write(volume, path)
    raise ConfigError(f"{path}: volumes are written as {', '.join(_WRITERS)}")
