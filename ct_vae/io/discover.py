"""From what a user names on the command line to the list of files to work on."""

from __future__ import annotations

import gzip
import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import NoReturn

from ct_vae.errors import ConfigError, NoInputError
from ct_vae.io.byte_stream import GZIP_MAGIC
from ct_vae.io.latent_record import SUFFIXES as LATENT_SUFFIXES
from ct_vae.io.latent_record import record_path
from ct_vae.latent import RECORD_FORMAT
from ct_vae.volume import DERIVED_MARK

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")

_MARK = f'"{RECORD_FORMAT}"'.encode()
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class Case:
    """One file to work on.

    Attributes:
        path: Where it is, as it was named or found.
        key: Its path below the folder that was named, with ``/`` and without its suffix; outputs
            that carry it mirror the tree of the inputs.
    """

    path: Path
    key: str


def discover(
    inputs: Sequence[str | Path],
    *,
    latents: bool = False,
    suffixes: Sequence[str] = VOLUME_SUFFIXES,
    unique: bool = True,
) -> list[Case]:
    """Find the cases that files, folders and patterns stand for, in a fixed order.

    A file is taken as named. Folders are searched to any depth, without what is hidden and without
    running in circles. A pattern (``*``, ``?``, ``[...]``, ``**``) is tried when no file has that
    very name. Inside folders and patterns, latents are told from volumes by their record, and
    volumes that a model has decoded are left out.

    Args:
        inputs: What the user named.
        latents: Whether to take latents from folders and patterns, instead of volumes.
        suffixes: How names of volumes end, in lower case.
        unique: Whether outputs will be named by keys, so that no two may be the same.

    Raises:
        NoInputError: If an input does not exist or gives nothing.
        ConfigError: If two files would get the same key.
    """
    endings = LATENT_SUFFIXES if latents else tuple(suffixes)
    cases: dict[str, Case] = {}
    for given in inputs:
        found = _found(Path(given), latents, endings)
        if not found:
            _refuse_nothing(given, latents, endings)
        for case in found:
            # The same file may be named twice; a link to a file is a file of its own.
            place = os.path.realpath(case.path.parent)
            cases.setdefault(f"{place}/{case.path.name}", case)
    cases = {place: case for place, case in cases.items() if not _is_record(case.path)}
    if not cases:
        raise NoInputError("no input was given", "name files, folders or patterns")
    if unique:
        _refuse_collisions(cases.values())
    return list(cases.values())


def is_latent(path: Path) -> bool:
    """Whether a record of a latent lies beside a file, or in its header."""
    if not path.name.lower().endswith(LATENT_SUFFIXES):
        return False
    try:
        return _is_record(record_path(path)) or _MARK in _head(path)
    except (OSError, EOFError, zlib.error, ConfigError):
        return False


def _is_wanted(path: Path, latents: bool) -> bool:
    """Whether a file found in a folder is of the kind looked for, and no decoded volume."""
    return is_latent(path) == latents and (latents or not _is_derived(path))


def _is_derived(path: Path) -> bool:
    try:
        return DERIVED_MARK.encode() in _head(path)
    except (OSError, EOFError, zlib.error):
        return False


def _found(given: Path, latents: bool, endings: tuple[str, ...]) -> list[Case]:
    try:
        return list(_expand(given, latents, endings))
    except OSError as error:
        place = error.filename or given
        raise NoInputError(f"{place}: cannot be searched: {error.strerror}") from error


def _expand(given: Path, latents: bool, endings: tuple[str, ...]) -> Iterator[Case]:
    if os.path.lexists(given) and not given.is_dir():
        yield Case(given, _stem(given.name, endings))
        return
    root, pattern = _split_pattern(given)
    for path in _walk(root, set()):
        parts = path.relative_to(root).parts
        if not _matches_part(parts, pattern):
            continue
        if path.name.lower().endswith(endings) and _is_wanted(path, latents):
            yield Case(path, "/".join((*parts[:-1], _stem(path.name, endings))))


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Files below a folder in the order of their names; links to folders are followed once."""
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in visible:
        path = folder / entry.name
        # Unlike the entry's own answer, this one is no for a link that leads in a circle.
        if os.path.isdir(path):  # noqa: PTH112
            yield from _walk(path, seen)
        elif path.is_file() or entry.is_symlink():
            yield path


def _split_pattern(given: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder before the first wildcard, and the pattern below it, which a folder lacks."""
    root = next((folder for folder in (given, *given.parents) if folder.is_dir()), given)
    pattern = given.relative_to(root).parts
    # What has no wildcard above the first one is a folder that should be there.
    if pattern and not any(sign in pattern[0] for sign in "*?["):
        raise NoInputError(f"{given}: there is no such file or folder")
    return root, pattern


def _matches_part(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a pattern names a file or a folder that holds it; no pattern names all."""
    if not pattern:
        return True
    lengths = range(1, len(parts) + 1) if "**" in pattern else range(len(pattern), len(pattern) + 1)
    return any(_matches(parts[:n], pattern) for n in lengths if n <= len(parts))


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or bool(parts and _matches(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _stem(name: str, endings: tuple[str, ...]) -> str:
    for ending in sorted(endings, key=len, reverse=True):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return PurePath(name).stem


def _head(path: Path) -> bytes:
    """The first bytes of a file, decompressed."""
    with path.open("rb") as raw:
        head = raw.read(_HEAD_BYTES)
        if head[:2] != GZIP_MAGIC:
            return head
        raw.seek(0)
        with gzip.open(raw) as layer:
            return layer.read(_HEAD_BYTES)


def _is_record(path: Path) -> bool:
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return _MARK in file.read(_HEAD_BYTES)
    except OSError:
        return False


def _refuse_nothing(given: str | Path, latents: bool, endings: tuple[str, ...]) -> NoReturn:
    kind = "latents of this package" if latents else "volumes"
    raise NoInputError(f"{given}: no {kind} found among files named {', '.join(endings)}")


def _refuse_collisions(cases: Iterable[Case]) -> None:
    by_key: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        by_key[case.key].append(str(case.path))
    clashes = [f"{key}: {' and '.join(paths)}" for key, paths in by_key.items() if len(paths) > 1]
    if clashes:
        more = f" (and {len(clashes) - 10} more)" if len(clashes) > 10 else ""
        raise ConfigError(
            f"several inputs would give outputs of the same name: {'; '.join(clashes[:10])}{more}",
            "rename them, or name one folder above them all so that outputs mirror its tree",
        )
