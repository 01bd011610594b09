"""Which reconstruction belongs to which original, by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ct_vae.errors import ConfigError
from ct_vae.io.formats import path_kind
from ct_vae.io.search.cases import VOLUME_SUFFIXES, Case, discover
from ct_vae.io.search.walk import walk_files

# What tools add to the name of a file that they have made of another.
_ADDED = re.compile(r"[_.\- ]?(recon(struction|structed)?|rec|decoded|pred(iction)?|output|out)$")


def find_results(path: Path) -> list[Case]:
    """Reconstructions that a file or folder holds, be they decoded by this package or not.

    Raises:
        NoInputError: If it does not exist or holds none.
    """
    files = walk_files(path) if path.is_dir() else []
    found = [
        Case(file, _stem(file.relative_to(path).as_posix()))
        for file in files
        if file.name.lower().endswith(VOLUME_SUFFIXES) and path_kind(file) != "latent"
    ]
    # A series of DICOM files may be meant as well, and what is missing is told there.
    return found or discover([path])


def _stem(name: str) -> str:
    ending = next(s for s in VOLUME_SUFFIXES if name.lower().endswith(s))
    return name[: -len(ending)]


def pair_cases(references: Sequence[Case], results: Sequence[Case]) -> list[tuple[Case, Case]]:
    """Find the partner of every original, in the originals' order.

    One original and one reconstruction are a pair whatever their names. Otherwise the partner has
    the same path below its folder, but for what tools add at the end (``_recon``, ``_decoded``,
    ``_reconstruction``, ``_pred``, ``_out`` and the like); where no path agrees, the file's name
    decides.

    Raises:
        ConfigError: If an original has no partner or several, or a reconstruction none; all of
            them are told in one line.
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
            f"originals and reconstructions are not pairs: {'; '.join(wrong[:10])}{more}",
            "name reconstructions as their originals, with or without _recon at the end",
        )
    return [(reference, partners[0]) for reference, partners in found.items()]


def _sorted_by(results: Sequence[Case], part: Callable[[str], str]) -> dict[str, list[Case]]:
    """Results by a part of their keys, as they are named and without what tools add."""
    found: dict[str, list[Case]] = defaultdict(list)
    for result in results:
        found[part(_plain(result.key))].append(result)
    return found


def _wrong_originals(found: Mapping[Case, Sequence[Case]]) -> Iterator[str]:
    for reference, partners in found.items():
        if len(partners) != 1:
            several = " and ".join(result.key for result in partners)
            yield f"{reference.key} has {f'several: {several}' if partners else 'none'}"


def _wrong_results(found: Mapping[Case, Sequence[Case]], results: Sequence[Case]) -> Iterator[str]:
    for result in results:
        owners = [reference.key for reference, partners in found.items() if result in partners]
        if len(owners) != 1:
            told = f"would serve {' and '.join(owners)}" if owners else "belongs to none"
            yield f"{result.key} {told}"


def _plain(key: str) -> str:
    return _ADDED.sub("", key.lower())
