"""Files and series that a search leaves out, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["unread", "maybe", "series", "folder", "archive", "latent", "decoded", "other"]

# Volumes in formats of other programs, with a way to convert them. Such files are always volumes,
# so the user expects them to be read.
_UNREAD = {
    (".nii.bz2", ".nii.xz", ".nii.zst"): "a compression that is not supported; decompress it",
    (".mgz", ".mgh"): "a FreeSurfer volume; convert it to NIfTI, for example with mri_convert",
    (".mnc", ".mnc.gz"): "a MINC volume; convert it to NIfTI, for example with mnc2nii",
    (".gipl", ".gipl.gz"): "a GIPL volume; convert it to NIfTI, for example with SimpleITK",
    (".vti", ".vtk"): "a VTK file; convert it to NIfTI or MetaImage",
    (".img", ".img.gz"): "voxels of an Analyze or NIfTI pair without its .hdr file",
    (".par", ".rec"): "a Philips PAR/REC file; convert it to NIfTI, for example with nibabel",
    (".isq", ".aim", ".vff", ".v", ".nia", ".nii.img"): "a scanner format; convert it to NIfTI",
}
# Files that may contain volumes or other arrays.
_MAYBE = {
    (".npy", ".npz"): "a NumPy array, which has no geometry; save it as NIfTI",
    (".h5", ".hdf5", ".he5", ".mat", ".b2nd", ".zarr"): "an array; save it as NIfTI",
    (".tif", ".tiff", ".ome.tif"): "a TIFF image; convert a stack of them to NIfTI",
    (".pt", ".pth"): "a PyTorch file; save a volume as NIfTI",
    (".raw", ".zraw"): "voxels without a header; convert them to NIfTI",
}
_SHOWN = 5
_NAMES: dict[Kind, tuple[str, str]] = {
    "unread": ("volume in an unsupported format", "volumes in unsupported formats"),
    "maybe": ("array file", "array files"),
    "series": ("DICOM series", "DICOM series"),
    "folder": ("folder that cannot be searched", "folders that cannot be searched"),
    "archive": ("archive", "archives"),
    "latent": ("latent", "latents"),
    "decoded": ("decoded volume", "decoded volumes"),
    "other": ("other file", "other files"),
}


@dataclass(frozen=True)
class LeftOut:
    """A file, series or folder that a search leaves out.

    Attributes:
        path: The file or folder; for a series, its folder.
        kind: ``unread`` for volumes in unsupported formats, ``maybe`` for arrays that may be
            volumes, ``series`` for skipped DICOM series, ``folder`` for folders that cannot be
            listed, ``archive`` for archives that are not searched, ``latent``, ``decoded``, or
            ``other``.
        reason: The reason, as one clause.
        files: Files of the series, or the file.
    """

    path: Path
    kind: Kind
    reason: str
    files: tuple[Path, ...] = ()

    @property
    def meant(self) -> bool:
        """True if the user must have meant it as an input, so that it counts as a failure."""
        return self.kind == "unread"

    @property
    def line(self) -> str:
        """Path and reason as one line."""
        return f"{self.path}{'' if self.kind == 'folder' else ':'} {self.reason}"


def left_out_file(path: Path) -> LeftOut:
    """Classify a file that is neither a volume nor DICOM by its name."""
    name = path.name.lower()
    tables: tuple[tuple[Kind, dict[tuple[str, ...], str]], ...] = (
        ("unread", _UNREAD),
        ("maybe", _MAYBE),
    )
    for kind, table in tables:
        for suffixes, reason in table.items():
            if name.endswith(suffixes):
                return LeftOut(path, kind, f"not read: {reason}", (path,))
    return LeftOut(path, "other", "not a volume", (path,))


def reported_lines(left_out: Iterable[LeftOut]) -> Iterator[str]:
    """Yield a line for each item that the user may have expected to be processed."""
    for each in left_out:
        if each.kind in {"unread", "maybe", "series", "folder", "archive"}:
            yield each.line


def count_line(left_out: Sequence[LeftOut]) -> str:
    """Count the items by kind, such as ``2 DICOM series, 14 other files (12 .xml, 2 .txt)``."""
    counts = Counter(each.kind for each in left_out)
    parts = [
        f"{counts[kind]} {many if counts[kind] > 1 else one}"
        for kind, (one, many) in _NAMES.items()
        if counts[kind]
    ]
    others = [file for each in left_out if each.kind == "other" for file in each.files]
    return ", ".join(parts) + (f" ({by_suffix(others)})" if others else "")


def by_suffix(files: Iterable[Path]) -> str:
    """Count files by the end of their names, most frequent first."""
    counts = Counter(path.suffix.lower() or "no suffix" for path in files)
    shown = [f"{count} {suffix}" for suffix, count in counts.most_common(_SHOWN)]
    return ", ".join(shown) + (", ..." if len(counts) > _SHOWN else "")
