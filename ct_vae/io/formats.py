"""Detection of the kind of a file or folder by its content, for all commands and readers."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Literal

from ct_vae.errors import ConfigError
from ct_vae.io.archive import holds_archive
from ct_vae.io.byte_stream import GZIP_MAGIC
from ct_vae.io.dicom.file import is_dicom
from ct_vae.io.dicom.scan import split_series_path
from ct_vae.io.latent.layout import MAISI_ENDING
from ct_vae.io.latent.record import is_record, record_path
from ct_vae.io.mha_nrrd.header import is_metaimage, is_nrrd
from ct_vae.io.nifti.header import is_nifti
from ct_vae.latent import CODED_MAGIC, RECORD_FORMAT
from ct_vae.volume import DERIVED_MARK

PathKind = Literal[
    "series",
    "folder",
    "model",
    "archive",
    "dicom",
    "nifti",
    "metaimage",
    "nrrd",
    "latent",
    "record",
    "json",
    "unknown",
]

_WEIGHTS = "model.safetensors"
_SUMS = "SHA256SUMS"
_MODEL_FILES = (_WEIGHTS, _SUMS, "config.json", "MODEL_CARD.md")
_RECORD_MARK = f'"{RECORD_FORMAT}"'.encode()
_HEAD_BYTES = 4096
# Window size plus 16: gzip header.
_GZIP = 31


def path_kind(path: str | Path) -> PathKind:
    """Return the kind of a file or folder.

    Names matter only for JSON files and files of a model folder: a zip archive named
    ``case.nii.gz`` is an archive.

    Args:
        path: A file, a folder, or ``PATH/#id`` for one DICOM series of a folder or archive.

    Returns:
        ``series`` for ``PATH/#id``; ``folder``, or ``model`` for a model folder; for files

        - ``archive``: zip or tar, compressed or not;
        - ``dicom``: begins with the DICOM preamble;
        - ``nifti``, ``metaimage``, ``nrrd``: volumes;
        - ``latent``: a coded latent, or a NIfTI file with the record of a latent in its header or
          next to it;
        - ``record``: the JSON record of a latent;
        - ``model``: a file of a model folder;
        - ``json``: another JSON file;
        - ``unknown``: anything else, including DICOM files without preamble, damaged files, and
          paths that do not exist or cannot be read.
    """
    return kind_and_origin(path)[0]


def kind_and_origin(path: str | Path) -> tuple[PathKind, bool]:
    """Return the kind of a file or folder, and whether it is a volume decoded by a model.

    The file is opened only once.

    Args:
        path: Path as for `path_kind`.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return "model" if _holds_model(path) else "folder", False
        if split_series_path(path)[1]:
            return "series", False
        return _file_kind(path) if path.is_file() else ("unknown", False)
    except OSError:
        return "unknown", False


def _holds_model(folder: Path) -> bool:
    sums = folder / _SUMS
    # Data sets may have lists of checksums too.
    return (folder / _WEIGHTS).exists() or (
        sums.is_file() and _WEIGHTS.encode() in sums.read_bytes()[:_HEAD_BYTES]
    )


def _file_kind(path: Path) -> tuple[PathKind, bool]:
    if path.name in _MODEL_FILES and _holds_model(path.parent):
        return "model", False
    if path.suffix.lower() == ".json":
        return _json_kind(path), False
    return ("latent", False) if _has_record(path) else _image_kind(path)


def _image_kind(path: Path) -> tuple[PathKind, bool]:
    with path.open("rb") as file:
        if holds_archive(file):
            return "archive", False
        file.seek(0)
        head = file.read(_HEAD_BYTES)
    # Only NIfTI files may be compressed as a whole.
    plain = _decompressed(head) if head.startswith(GZIP_MAGIC) else head
    found: dict[PathKind, bool] = {
        "dicom": is_dicom(head),
        "metaimage": is_metaimage(head),
        "nrrd": is_nrrd(head),
        "latent": head.startswith(CODED_MAGIC) or (is_nifti(plain) and _RECORD_MARK in plain),
        "nifti": is_nifti(plain),
    }
    kind: PathKind = next((kind for kind, fits in found.items() if fits), "unknown")
    return kind, DERIVED_MARK.encode() in plain


def _json_kind(path: Path) -> PathKind:
    if is_record(path) or path.name.lower().endswith(f"{MAISI_ENDING}.json"):
        return "record"
    # Only model folders need the classes of configurations, which take long to import.
    from ct_vae.config.model_folder import MODEL_FORMAT

    with path.open("rb") as file:
        return "model" if f'"{MODEL_FORMAT}"'.encode() in file.read(_HEAD_BYTES) else "json"


def _has_record(path: Path) -> bool:
    """Return True if there is a latent record for the file in its folder."""
    try:
        return is_record(record_path(path))
    except ConfigError:
        return False


def _decompressed(head: bytes) -> bytes:
    """Decompress the first bytes of a gzip file; empty if they are damaged."""
    try:
        return zlib.decompressobj(_GZIP).decompress(head, _HEAD_BYTES)
    except zlib.error:
        return b""
