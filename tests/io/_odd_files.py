"""Files of every odd kind, made by code, with what is expected of each."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
import SimpleITK

from tests.io._samples import nifti_bytes
from tests.io.hounsfield._disguises import DISGUISES
from tests.io.hounsfield._thorax import thorax
from tests.io.mha_nrrd.test_reader import itk_image

AFFINE = np.diag([0.9, 0.8, 2.5, 1.0])
VOXELS = thorax()

Outcome = Literal["read", "noted", "refused"]


@dataclass(frozen=True)
class OddFile:
    """One kind of file.

    Attributes:
        name: What it is.
        make: Writes it into a folder and returns what is read.
        outcome: What this package makes of it; `VOXELS` in any case but ``refused``.
        message: Part of the refusal.
        insist: The option that reads it all the same.
    """

    name: str
    make: Callable[[Path], Path]
    outcome: Outcome
    message: str = ""
    insist: str = ""


def nifti(change=lambda content: content, name="a.nii", voxels=VOXELS, affine=AFFINE, **fields):
    """A NIfTI file, with its bytes changed."""

    def make(folder: Path) -> Path:
        content = change(nifti_bytes(np.asarray(voxels), affine, **fields))
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return folder / name

    return make


def packed(tail: bytes):
    """A compressed NIfTI file that is followed by other bytes."""

    def make(folder: Path) -> Path:
        path = folder / "a.nii.gz"
        path.write_bytes(gzip.compress(nifti_bytes(VOXELS, AFFINE)) + tail)
        return path

    return make


def itk(name, compressed=False, old="", new="", tail=b"", voxels=VOXELS):
    """A file that SimpleITK writes, with its header changed and other bytes after its voxels."""

    def make(folder: Path) -> Path:
        path = folder / name
        SimpleITK.WriteImage(itk_image(voxels, AFFINE), str(path), compressed)
        content = path.read_bytes()
        assert old.encode() in content
        path.write_bytes(content.replace(old.encode(), new.encode(), 1))
        last = next((p for p in folder.iterdir() if p != path), path)
        last.write_bytes(last.read_bytes() + tail)
        return path

    return make


def pair(named: str, cls=nib.Nifti1Pair):
    """A NIfTI pair."""

    def make(folder: Path) -> Path:
        image = cls(VOXELS, AFFINE)
        image.header.set_xyzt_units("mm")
        nib.save(image, folder / "a.hdr")
        return folder / named

    return make


def disguised(name: str) -> OddFile:
    """Values that are no HU."""
    insist = "--hu-offset -1024" if name.startswith("HU + 10") else "--force"
    values = np.asarray(DISGUISES[name](VOXELS))
    kept = values.astype(np.float32) if values.dtype.kind == "f" else values.astype(np.int32)
    return OddFile(name, nifti(voxels=kept), "refused", "", insist)


FILES = [
    OddFile("`.mhd` and `.raw`, as in LUNA16", itk("a.mhd"), "read"),
    OddFile("`.mhd` and `.zraw`", itk("a.mhd", compressed=True), "read"),
    OddFile("`.nhdr` and `.raw`", itk("a.nhdr"), "read"),
    OddFile("`.nhdr` and `.raw.gz`", itk("a.nhdr", compressed=True), "read"),
    OddFile("NIfTI pair, `.hdr`", pair("a.hdr"), "read"),
    OddFile("NIfTI pair, `.img`", pair("a.img"), "read"),
    OddFile("NIfTI-2 pair", pair("a.hdr", nib.Nifti2Pair), "read"),
    OddFile(
        "NRRD of `signed short int`", itk("a.nrrd", old="short", new="signed short int"), "read"
    ),
    OddFile("NIfTI of int64", nifti(voxels=VOXELS.astype("i8")), "read"),
    OddFile(
        "NIfTI of int64 beyond 2^53",
        nifti(voxels=VOXELS.astype("i8") + (1 << 60)),
        "refused",
        "64-bit",
    ),
    OddFile("a byte after the voxels of `.nii`", nifti(lambda c: c + b"x"), "noted"),
    OddFile("100 bytes after the voxels of `.nii`", nifti(lambda c: c + bytes(100)), "noted"),
    OddFile(
        "a slice after the voxels of `.nii`",
        nifti(lambda c: c + bytes(24 * 25 * 2)),
        "refused",
        "more than",
    ),
    OddFile("gzip followed by other bytes", packed(b"trailer"), "noted"),
    OddFile("gzip followed by zeros", packed(bytes(512)), "read"),
    OddFile("a byte after the voxels of `.mha`", itk("a.mha", tail=b"x"), "noted"),
    OddFile("a byte after the compressed voxels of `.mha`", itk("a.mha", True, tail=b"x"), "noted"),
    OddFile("a byte after the voxels of `.nrrd`", itk("a.nrrd", tail=b"x"), "noted"),
    OddFile(
        "a byte after the compressed voxels of `.nrrd`", itk("a.nrrd", True, tail=b"x"), "noted"
    ),
    OddFile("a byte after a `.raw`", itk("a.mhd", tail=b"x"), "refused", "more than"),
    OddFile(
        "`.mhd` that names `../a.raw`",
        itk("a.mhd", old="a.raw", new="../a.raw"),
        "refused",
        "is outside",
    ),
    OddFile(
        "`.mhd` without `TransformMatrix`",
        itk("a.mhd", old="TransformMatrix", new="Remark"),
        "noted",
    ),
    OddFile("a truncated `.nii`", nifti(lambda c: c[:-1]), "refused", "truncated"),
    OddFile(
        "lengths in meters",
        nifti(affine=np.diag([9e-4, 8e-4, 2.5e-3, 1])),
        "refused",
        "multiply its affine by 1000",
    ),
    OddFile("voxels of 60 mm", nifti(affine=np.diag([1, 1, 60, 1.0])), "refused", "0.02 to 50 mm"),
    OddFile("(1, X, Y, Z)", nifti(voxels=VOXELS[None]), "refused", "channels first"),
    OddFile("(X, Y, Z, 1)", nifti(voxels=VOXELS[..., None]), "read"),
    OddFile(
        "four time points",
        nifti(voxels=np.stack([VOXELS] * 4, -1)),
        "refused",
        "--frame K",
        "--frame K",
    ),
    OddFile(
        "no orientation",
        nifti(sform_code=0, qform_code=0),
        "refused",
        "--assume-ras",
        "--assume-ras",
    ),
    *map(disguised, DISGUISES),
]
