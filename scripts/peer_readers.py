"""One folder or file as other readers of the field read it; runs in an environment of their own.

Usage: python peer_readers.py DCM2NIIX PATH...

Prints one JSON object a line: by reader, a list of volumes as [size, spacing in mm], or why there
is none. `compare_readers.py` makes the environment and calls this.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import dicom2nifti
import nibabel
import SimpleITK

Volumes = list[tuple[list[int], list[float]]]


def main() -> None:
    """Read every path by every reader."""
    warnings.simplefilter("ignore")
    logging.disable()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    dcm2niix, *paths = sys.argv[1:]
    for path in map(Path, paths):
        answers = {
            "SimpleITK": attempt(lambda p=path: by_itk(p)),
            "dcm2niix": attempt(lambda p=path: by_dcm2niix(dcm2niix, p)),
            "dicom2nifti": attempt(lambda p=path: by_dicom2nifti(p)),
        }
        print(json.dumps(answers), flush=True)


def attempt(read: Any) -> Volumes | str:
    """What a reader gives, or the last line of its error."""
    try:
        return read()
    # Each has exceptions of its own, and a refusal is an answer.
    except Exception as error:
        return (str(error).strip() or type(error).__name__).splitlines()[-1]


def by_itk(path: Path) -> Volumes:
    """A file, or every series of every folder."""
    if path.is_file():
        return [of_itk(SimpleITK.ReadImage(str(path)))]
    found = []
    for folder in sorted({each.parent for each in path.rglob("*") if each.is_file()}):
        for series in SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)):
            reader = SimpleITK.ImageSeriesReader()
            names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series)
            reader.SetFileNames(names)
            found.append(of_itk(reader.Execute()))
    return found


def of_itk(image: Any) -> tuple[list[int], list[float]]:
    """Size and spacing of an image."""
    return list(image.GetSize()), list(image.GetSpacing())


def by_dcm2niix(program: str, path: Path) -> Volumes:
    """What it writes; with an error of its own if it writes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-o", folder, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = of_niftis(Path(folder))
    if not found:
        raise ValueError(f"exit code {done.returncode}")
    return found


def by_dicom2nifti(path: Path) -> Volumes:
    """What it writes of a folder; it reads no files."""
    with tempfile.TemporaryDirectory() as folder:
        dicom2nifti.convert_directory(str(path), folder)
        found = of_niftis(Path(folder))
    if not found:
        raise ValueError("nothing written")
    return found


def of_niftis(folder: Path) -> Volumes:
    """Sizes and spacings of the NIfTI files in a folder."""
    images = [nibabel.load(path) for path in sorted(folder.glob("*.nii*"))]
    return [(list(i.shape), [float(z) for z in i.header.get_zooms()[:3]]) for i in images]


if __name__ == "__main__":
    main()
