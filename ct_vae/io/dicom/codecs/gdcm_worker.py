"""Script of a worker process that decodes DICOM files with GDCM, which damaged files can crash.

It is run by path, so that nothing of this package is imported. Each line of standard input is the
name of a file; its values are written to the same name with ``.raw``. The answer is their type and
shape, ``!`` if the file cannot be decoded, or `NO_ROOM`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# Damaged headers may require any amount of memory.
_MEMORY_BYTES = 1 << 34
# Answer if the disk is full.
NO_ROOM = "!room"


def serve() -> None:
    """Answer requests until standard input ends."""
    import SimpleITK

    _limit_memory()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for line in sys.stdin:
        sys.stdout.write(f"{_decode(SimpleITK, line.rstrip())}\n")
        sys.stdout.flush()


def _decode(itk: Any, name: str) -> str:
    reader = itk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(name)
    try:
        array = itk.GetArrayFromImage(reader.Execute())
    except (RuntimeError, MemoryError):
        return "!"
    try:
        array.tofile(Path(f"{name}.raw"))
    except OSError:
        return NO_ROOM
    return " ".join([array.dtype.str, *map(str, array.shape)])


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        # Windows has no such limit.
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, _MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    serve()
