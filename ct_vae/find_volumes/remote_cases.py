"""Search for cases at URLs, by the names of files."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ct_vae.errors import CtVaeError, renamed_error
from ct_vae.find_volumes.case import Case, SearchResult
from ct_vae.find_volumes.left_out import LeftOut, left_out_file
from ct_vae.io.archive import ARCHIVE_SUFFIXES
from ct_vae.io.latent.layout import has_latent_name, sidecar_path
from ct_vae.io.latent.record import CODED_SUFFIX, record_path
from ct_vae.io.latent.record import SUFFIXES as LATENT_SUFFIXES
from ct_vae.io.remote import (
    RemoteFile,
    canonical_url,
    download,
    exists,
    is_url,
    list_files,
    without_query,
)
from ct_vae.io.temporary import make_temporary_folder

# Separate data files by the ending of their header.
_DATA_SUFFIXES = {
    ".hdr.gz": (".img.gz", ".img"),
    ".hdr": (".img", ".img.gz"),
    ".mhd": (".raw", ".zraw"),
    ".nhdr": (".raw", ".raw.gz"),
}
_MADE = re.compile(r".+_(decoded|reconstruction)\.nii(\.gz)?")
_NOT_UNPACKED = "an archive, which is read only if it is given or matches a pattern"
_SLICES = "DICOM files at URLs are read from archives only"


def remote_cases(url: str, latents: bool, endings: Sequence[str]) -> SearchResult:
    """Find the cases that a URL refers to.

    Files are not opened, so latents and decoded volumes are recognized by their names. An archive
    is one case. Keys are as for local paths.

    Args:
        url: URL of a file, of a folder, or with wildcards.
        latents: True to search for latents instead of volumes.
        endings: Suffixes of the files to search for, in lower case.

    Raises:
        NoInputError: If there is no such file, folder or bucket.
        InputError: If the store cannot be reached or denies access.
        ConfigError: If the protocol is unknown or its package is missing.
    """
    files, url = list_files(url), canonical_url(url)
    if len(files) == 1 and files[0].url == url:
        folder = without_query(url).rsplit("/", 1)[0]
        return SearchResult([_case(files[0], folder, latents, endings, None)], [])
    named = bool(files) and all(file.url.startswith(f"{url}/") for file in files)
    root = url if named else _fixed_part(url)
    names = {file.url for file in files}
    if root != url and (latents or any(_companions(name, latents) for name in names)):
        # A pattern such as *.mhd matches headers only.
        names |= _neighbors(files)
    cases: list[Case] = []
    left_out: list[tuple[RemoteFile, LeftOut]] = []
    for file in files:
        reason = _reason_against(file, latents, endings, pattern=root != url)
        if reason is None:
            cases.append(_case(file, root, latents, endings, names))
        elif not latents or file.url.endswith(tuple(endings)):
            left_out.append((file, reason))
    # Data files belong to their headers.
    apart = {url for case in cases if case.remote for url in case.remote.companions}
    others = [each for file, each in left_out if file.url not in apart]
    return SearchResult(cases, others)


def remote_case(url: str, key: str) -> Case:
    """Return the case of one file with a given key.

    Raises:
        NoInputError: If there is no such file.
        InputError: If the store cannot be reached or denies access.
        ConfigError: If the protocol is unknown or its package is missing.
    """
    companions = tuple(each for each in _companions(url, latents=False) if exists(each))
    return Case(Path(url), key, remote=RemoteFile(url, companions=companions))


@contextmanager
def local_copies(paths: Sequence[str | Path]) -> Iterator[tuple[list[Path], Callable[[str], str]]]:
    """Yield local paths, with copies of files and folders at URLs that are removed at the end.

    Args:
        paths: Paths and URLs.

    Yields:
        The local paths, and a function that replaces paths of copies by URLs in a text.

    Raises:
        NoInputError: If there is no such file, folder or bucket.
        InputError: If the store cannot be reached or denies access.
        ConfigError: If the protocol is unknown or its package is missing.
    """
    if not any(map(is_url, paths)):
        yield [Path(path) for path in paths], str
        return
    with make_temporary_folder() as folder:
        local: list[Path] = []
        names: dict[str, str] = {}
        for number, path in enumerate(paths):
            if not is_url(path):
                local.append(Path(path))
                continue
            url = canonical_url(str(path))
            parent, _, name = without_query(url).rpartition("/")
            names[f"{folder}/{number}"] = parent
            local.append(Path(folder, str(number), name))
            _copy(url, parent, Path(folder, str(number)))

        # The last first: the folder of copy 1 is the beginning of that of copy 10.
        parents = list(reversed(names.items()))

        def renamed(text: str) -> str:
            for place, parent in parents:
                text = text.replace(place, parent)
            return text

        try:
            yield local, renamed
        except CtVaeError as error:
            found = error
            for place, parent in parents:
                found = renamed_error(found, place, parent)
            raise found from error


def _copy(url: str, parent: str, folder: Path) -> None:
    """Download a file with its companions, or all files of a folder."""
    urls = [file.url for file in list_files(url)]
    if urls == [url]:
        name = RemoteFile(url).name.lower()
        if name.endswith(".json"):
            companions = _of_record(url)
        else:
            companions = _companions(url, latents=has_latent_name(name))
        urls += [each for each in companions if exists(each)]
    for each in urls:
        path = folder / without_query(each).removeprefix(f"{parent}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        download(each, path)


def _neighbors(files: Sequence[RemoteFile]) -> set[str]:
    """Return the URLs of all files in the folders of some files."""
    folders = {file.url.rpartition("/")[0] for file in files}
    return {each.url for folder in folders for each in list_files(f"{glob.escape(folder)}/*")}


def _fixed_part(url: str) -> str:
    """Return the URL up to its first part with a wildcard, without a slash at its end."""
    parts = url.split("/")
    wild = [number for number, part in enumerate(parts) if any(sign in part for sign in "*?[")]
    return "/".join(parts[: wild[0]] if wild else parts)


def _reason_against(
    file: RemoteFile, latents: bool, endings: Sequence[str], pattern: bool
) -> LeftOut | None:
    """Return why a file of a folder is not a case; ``None`` if it is one."""
    path, name = Path(file.url), file.name.lower()
    of_latent = has_latent_name(name)
    if latents:
        return None if of_latent else LeftOut(path, "other", "not a latent", (path,))
    if of_latent:
        return LeftOut(path, "latent", "a latent by its name", (path,))
    if _MADE.fullmatch(name):
        return LeftOut(path, "decoded", "decoded by its name", (path,))
    if name.endswith(ARCHIVE_SUFFIXES):
        return None if pattern else LeftOut(path, "archive", _NOT_UNPACKED, (path,))
    if name.endswith(".dcm"):
        return LeftOut(path, "unread", _SLICES, (path,))
    return None if name.endswith(tuple(endings)) else left_out_file(path)


def _case(
    file: RemoteFile,
    root: str,
    latents: bool,
    endings: Sequence[str],
    listed: set[str] | None,
) -> Case:
    """Return the case of a file, whose key is its place below ``root`` without its ending."""
    place = without_query(file.url).removeprefix(f"{root}/")
    known = sorted((*endings, *ARCHIVE_SUFFIXES), key=len, reverse=True)
    ending = next((e for e in known if place.lower().endswith(e) and len(file.name) > len(e)), "")
    companions = tuple(
        url
        for url in _companions(file.url, latents)
        if (url in listed if listed is not None else exists(url))
    )
    key = place[: len(place) - len(ending)]
    return Case(Path(file.url), key, remote=replace(file, companions=companions))


def _of_record(url: str) -> list[str]:
    """Return the possible URLs of the latent of a record."""
    stem = url[: -len(".json")]
    if stem.lower().endswith(LATENT_SUFFIXES):
        return [stem]
    return [f"{stem}{suffix}" for suffix in LATENT_SUFFIXES if suffix != CODED_SUFFIX]


def _companions(url: str, latents: bool) -> list[str]:
    """Return the possible URLs of files that belong to a file: a record, or separate voxels."""
    folder, _, name = url.rpartition("/")
    if latents:
        names = [record_path(name).name, sidecar_path(name).name]
    else:
        stem, ending = next(
            ((name[: -len(e)], e) for e in _DATA_SUFFIXES if name.lower().endswith(e)), ("", "")
        )
        names = [stem + suffix for suffix in _DATA_SUFFIXES.get(ending, ())]
    return [f"{folder}/{each}" for each in dict.fromkeys(names)]
