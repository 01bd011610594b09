"""NIfTI pairs in files."""

import gzip
import shutil

import nibabel as nib

from tests.io._samples import AFFINE, ct_voxels


def write_pair(folder, cls=nib.Nifti1Pair, header="a.hdr", image="a.img"):
    """Write a NIfTI pair, each part compressed if its name says so."""
    plain = folder / "plain"
    plain.mkdir()
    pair = cls(ct_voxels(), AFFINE)
    pair.header.set_xyzt_units("mm")
    nib.save(pair, plain / "p.img")
    for source, name in (("p.hdr", header), ("p.img", image)):
        content = (plain / source).read_bytes()
        packed = gzip.compress(content) if name.endswith(".gz") else content
        (folder / name).write_bytes(packed)
    shutil.rmtree(plain)
    return folder / header, folder / image
