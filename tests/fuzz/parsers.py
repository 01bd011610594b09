"""What is fuzzed: one function per parser, which takes bytes and lets only real faults out.

A refusal (`CtVaeError`) is an answer. Any other exception is a finding, and so is a result that
another reader of the same bytes does not confirm.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK

from ct_vae.config.data import DataConfig
from ct_vae.config.load import load_config
from ct_vae.datasets.sources.check import validation_problems
from ct_vae.datasets.sources.split import list_split
from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions, read_latent, read_volume
from ct_vae.io.hounsfield.padding import PADDING_HU
from ct_vae.models.model_folder import load_model_folder
from ct_vae.volume import AIR_HU

# Between the files of a series in one input.
BOUNDARY = b"\n--next file--\n"
CONSENT = ReadOptions(
    frame=0, nan="air", assume_ras=True, force=True, assume_hu=True, resample_irregular=True
)


def nifti(data: bytes, folder: Path) -> None:
    """A volume as a file holds it; what is read is what nibabel reads."""
    path = _written(folder / "ct.nii", data)
    try:
        volume = read_volume(path, ReadOptions(force=True))
    except CtVaeError:
        return
    if data[:2] == b"\x1f\x8b" or "slope" not in volume.source:
        return
    image = nib.Nifti1Image if data[:1] in {b"\x5c", b"\0"} and data[:4] != _V2_BIG else None
    image = nib.Nifti2Image if len(data) > 12 and data[4:7] == b"n+2" else image
    if image is None:
        return
    expected = np.squeeze(np.asarray(_peer(image, data)))
    expected = expected.reshape(volume.grid.shape)
    expected[expected <= PADDING_HU] = AIR_HU
    np.testing.assert_allclose(volume.voxels, expected, rtol=1e-6, atol=1e-3)


_V2_BIG = (540).to_bytes(4, "big")


def _peer(image: type[nib.Nifti1Image], data: bytes) -> np.ndarray:
    with np.errstate(all="ignore"):
        return image.from_stream(io.BytesIO(data)).get_fdata()


def _itk(data: bytes, folder: Path, together: str, apart: str) -> None:
    """A header and, behind a boundary, the file beside it; read as ITK reads it."""
    header, split, voxels = data.partition(BOUNDARY)
    # A name of another file would let the fuzzer read what lies elsewhere.
    if split:
        _written(folder / "a.raw", voxels)
    path = _written(folder / (apart if split else together), header)
    try:
        volume = read_volume(path, ReadOptions(force=True, assume_ras=True))
    except CtVaeError:
        return
    sized = re.search(rb"(?m)^CompressedDataSize\s*=\s*\d", header)
    if re.search(rb"(?m)^CompressedData\s*=\s*True", header) and not sized:
        # ITK begins in the middle of the data when their size is not declared.
        return
    loud = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        expected = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).transpose()
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(loud)
    expected = expected.astype(np.float32)
    expected[expected <= PADDING_HU] = AIR_HU
    np.testing.assert_allclose(volume.voxels, expected, rtol=1e-6, atol=1e-3)


def metaimage(data: bytes, folder: Path) -> None:
    """A `.mha`, or an `.mhd` with its `.raw`."""
    _itk(data, folder, "ct.mha", "ct.mhd")


def nrrd(data: bytes, folder: Path) -> None:
    """An `.nrrd`, or an `.nhdr` with its `.raw`."""
    _itk(data, folder, "ct.nrrd", "ct.nhdr")


def latent(data: bytes, folder: Path) -> None:
    """A latent file and, behind a boundary, its record."""
    file, _, record = data.partition(BOUNDARY)
    path = _written(folder / "a_latent.nii", file)
    beside = folder / "a_latent.json"
    beside.unlink(missing_ok=True)
    if record:
        # The checksum would hide every other check from the fuzzer.
        digest = hashlib.sha256(file).hexdigest().encode()
        _written(beside, re.sub(rb'"file_sha256": "[0-9a-f]{64}"', _named(digest), record))
    try:
        found = read_latent(path)
    except CtVaeError:
        return
    assert np.isfinite(found.array).all()


def coded(data: bytes, folder: Path) -> None:
    """A coded latent: with its own checksum, and with one that fits what it has become."""
    for content in (data, data[:-32] + hashlib.sha256(data[:-32]).digest()):
        path = _written(folder / "a_latent.latz", content)
        try:
            found = read_latent(path)
        except CtVaeError:
            continue
        assert np.isfinite(found.array).all()


def _named(digest: bytes) -> bytes:
    return b'"file_sha256": "' + digest + b'"'


def dicom(data: bytes, folder: Path) -> None:
    """A folder of slices, read strictly and then with every consent."""
    for old in folder.iterdir():
        old.unlink()
    for k, part in enumerate(data.split(BOUNDARY)[:16]):
        _written(folder / f"{k:02d}", part)
    for options in (ReadOptions(), CONSENT):
        try:
            volume = read_volume(folder, options)
        except CtVaeError:
            continue
        assert np.isfinite(volume.voxels).all()


def datalist(data: bytes, folder: Path) -> None:
    """A datalist, up to the headers of the volumes that it names."""
    # Names that lead elsewhere would let the fuzzer search this machine.
    if b".." in data or re.search(rb"[/\\]", data):
        return
    path = _written(folder / "list.json", data)
    try:
        split, _ = list_split(DataConfig(datalist=str(path)))
        validation_problems([*split.train, *split.val])
    except CtVaeError:
        return


def configuration(data: bytes, folder: Path) -> None:
    """A run configuration."""
    try:
        config = load_config(_written(folder / "run.json", data))
    except CtVaeError:
        return
    again = _written(folder / "again.json", json.dumps(config.as_json()).encode())
    assert load_config(again).as_json() == config.as_json()


def model(data: bytes, folder: Path) -> None:
    """A weights file with its configuration inside, under checksums that fit."""
    files = {"model.safetensors": data, "config.json": b"{}\n", "MODEL_CARD.md": b"# a\n"}
    lines = []
    for name, content in files.items():
        _written(folder / name, content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    _written(folder / "SHA256SUMS", "".join(lines).encode())
    try:
        loaded = load_model_folder(folder)
    except CtVaeError:
        return
    assert all(bool(value.isfinite().all()) for value in loaded.model.state_dict().values())


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


PARSERS: dict[str, Callable[[bytes, Path], None]] = {
    "nifti": nifti,
    "metaimage": metaimage,
    "nrrd": nrrd,
    "latent": latent,
    "coded": coded,
    "dicom": dicom,
    "datalist": datalist,
    "configuration": configuration,
    "model": model,
}
