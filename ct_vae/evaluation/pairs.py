"""Matching of reconstructions to originals by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ct_vae.errors import ConfigError
from ct_vae.find_volumes.cases import VOLUME_SUFFIXES, Case, discover
from ct_vae.io.formats import path_kind
from ct_vae.io.walk import walk_files

# Suffixes that tools add to the names of reconstructions.
_ADDED = re.compile(r"[_.\- ]?(recon(struction|structed)?|rec|decoded|pred(iction)?|output|out)$")


def find_results(path: Path) -> list[Case]:
    """Find the reconstructions in a file or folder, including volumes decoded by this package.

    Raises:
        NoInputError: If the path does not exist or contains no volume.
    """
    files = walk_files(path) if path.is_dir() else []
    found = [
        Case(file, _stem(file.relative_to(path).as_posix()))
        for file in files
        if file.name.lower().endswith(VOLUME_SUFFIXES) and path_kind(file) != "latent"
    ]
    # DICOM series and missing files are handled by the general search.
    return found or discover([path])


def _stem(name: str) -> str:
    ending = next(s for s in VOLUME_SUFFIXES if name.lower().endswith(s))
    return name[: -len(ending)]


def pair_cases(references: Sequence[Case], results: Sequence[Case]) -> list[tuple[Case, Case]]:
    """Match every original with its reconstruction, in the order of the originals.

    A single original and a single reconstruction always match. Otherwise the paths below their
    folders must be equal, except for a suffix such as ``_recon``, ``_decoded``, ``_pred`` or
    ``_out``. If no path matches, file names are compared.

    Raises:
        ConfigError: If an original has no or several reconstructions, or a reconstruction has no
            original; the message lists all of them.
    """
    if len(references) == len(results) == 1:
        return [(references[0], results[0])]
    exact = {result.key.lower(): [result] for result in results}
    by_path = _sorted_by(results, lambda key: key)
    found = {r: by_path[r.key.lower()] or exact.get(r.key.lower(), []) for r in references}
    taken = {result for partners in found.values() for result in partners}
    rest = [result for result in results if result not in taken]
    by_name = _sorted_by(rest, lambda key: key.rpartition("/")[2])
    for reference, partners in found.items():
        found[reference] = partners or by_name[reference.key.lower().rpartition("/")[2]]
    wrong = [*_wrong_originals(found), *_wrong_results(found, results)]
    if wrong:
        more = f" (and {len(wrong) - 10} more)" if len(wrong) > 10 else ""
        raise ConfigError(
            f"originals and reconstructions do not match: {'; '.join(wrong[:10])}{more}",
            "name reconstructions like their originals, with or without the suffix _recon",
        )
    return [(reference, partners[0]) for reference, partners in found.items()]


def _sorted_by(results: Sequence[Case], part: Callable[[str], str]) -> dict[str, list[Case]]:
    """Group results by a part of their keys, with and without suffixes."""
    found: dict[str, list[Case]] = defaultdict(list)
    for result in results:
        found[part(_plain(result.key))].append(result)
    return found


def _wrong_originals(found: Mapping[Case, Sequence[Case]]) -> Iterator[str]:
    for reference, partners in found.items():
        if len(partners) != 1:
            several = " and ".join(result.key for result in partners)
            found_here = f"several: {several}" if partners else "no reconstruction"
            yield f"{reference.key} has {found_here}"


def _wrong_results(found: Mapping[Case, Sequence[Case]], results: Sequence[Case]) -> Iterator[str]:
    for result in results:
        owners = [reference.key for reference, partners in found.items() if result in partners]
        if len(owners) != 1:
            problem = f"matches {' and '.join(owners)}" if owners else "matches no original"
            yield f"{result.key} {problem}"


def _plain(key: str) -> str:
    return _ADDED.sub("", key.lower())
