"""How fast CT is read, beside peers, measured in one run on the machine at hand.

Usage: python scripts/bench.py io NAME... [--json FILE] [--repetitions N]

``dicom`` reads ``dicom/abdomen_512`` of the test data, which ``CT_VAE_TEST_DATA`` names (by
default ``../shared/data``); ``nifti`` reads a phantom that it writes into a temporary folder.
Files are in the page cache. ``agreement`` is about values above air: what lies outside the field
of view is air to this package, and whatever the file says to its peers.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
import torch
from bench import Benchmarks, Case, compare, parser_for, run_named
from monai.data import PydicomReader
from monai.transforms import LoadImage
from numpy.typing import NDArray

from ct_vae.io import read_volume, write_volume
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import AIR_HU

_PACKAGES = ("pydicom", "SimpleITK", "nibabel", "isal")
_DATA = Path(os.environ.get("CT_VAE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
# About 60 MB once it is compressed.
_PHANTOM_SHAPE = (448, 352, 296)
_PHANTOM_SPACING_MM = 0.8


@dataclass(frozen=True)
class Read:
    """What a reader has given; nothing more is done to it in the time that is measured."""

    voxels: NDArray[Any]

    def double(self) -> torch.Tensor:
        """Values above air, ``(X, Y, Z)``, for comparison."""
        return torch.from_numpy(np.maximum(self.voxels, AIR_HU).astype(np.float64))


def dicom(repetitions: int) -> Iterator[Case]:
    """A series of 41 slices, 512 x 512."""
    folder = _DATA / "dicom" / "abdomen_512"
    if not folder.is_dir():
        raise SystemExit(f"real CT is not at {_DATA}; set CT_VAE_TEST_DATA")
    load = LoadImage(reader=PydicomReader())

    def by_itk() -> Read:
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        return Read(SimpleITK.GetArrayFromImage(reader.Execute()).transpose())

    peers: dict[str, Callable[[], Any]] = {
        # MONAI begins with the slice that the others have last.
        "MONAI PydicomReader": lambda: Read(load(folder).numpy()[:, :, ::-1]),
        "SimpleITK": by_itk,
        "ct_vae": lambda: Read(read_volume(folder).voxels),
    }
    case = compare("abdomen_512, 41 slices of 512 x 512, uncompressed", peers, repetitions)
    case.notes = {"files_mb": sum(p.stat().st_size for p in folder.iterdir()) / 1e6}
    yield case


def nifti(repetitions: int) -> Iterator[Case]:
    """A compressed NIfTI file of about 60 MB."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "phantom.nii.gz"
        phantom = make_phantom("thorax", 1, _PHANTOM_SPACING_MM, _PHANTOM_SHAPE)
        write_volume(phantom, path)
        peers: dict[str, Callable[[], Any]] = {
            "nibabel": lambda: Read(np.asanyarray(nibabel.load(path).dataobj)),
            "SimpleITK": lambda: Read(_itk_voxels(path)),
            "ct_vae": lambda: Read(read_volume(path).voxels),
        }
        sides = " x ".join(map(str, _PHANTOM_SHAPE))
        case = compare(f"phantom.nii.gz, {sides}, int16", peers, repetitions)
        case.notes = {
            "compressed_mb": path.stat().st_size / 1e6,
            "decompressed_mb": phantom.voxels.nbytes / 1e6,
        }
        yield case


def _itk_voxels(path: Path) -> NDArray[Any]:
    voxels: NDArray[Any] = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    return voxels.transpose()


BENCHMARKS: Benchmarks = {"dicom": dicom, "nifti": nifti}


def main() -> None:
    """Run the named benchmarks."""
    run_named(BENCHMARKS, parser_for(BENCHMARKS, __doc__).parse_args(), _PACKAGES)


if __name__ == "__main__":
    main()
