"""Lists of cases in files, which ``status`` writes and ``encode --from`` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from ct_vae.errors import ConfigError, NoInputError
from ct_vae.find_volumes.cases import Case, FoundCases, discover
from ct_vae.find_volumes.remote_cases import remote_case
from ct_vae.io.atomic.file import write_text
from ct_vae.io.remote import is_url


def write_case_list(path: Path, cases: Iterable[Case]) -> None:
    """Write cases as lines of JSON with ``path`` and ``key``, so that outputs keep their names.

    Raises:
        OutputError: If the file cannot be written.
    """
    lines = [json.dumps({"path": case.source, "key": case.key}) for case in cases]
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_case_list(path: Path) -> FoundCases:
    """Read a list of cases.

    Each line is a path, a pattern, a URL, or an object with ``path`` and ``key``; the key is the
    name of the output without its ending. Empty lines and lines that start with ``#`` are ignored.

    Raises:
        ConfigError: If a line is invalid, or two cases have the same key.
        NoInputError: If the list or an input does not exist, or the list is empty.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NoInputError(f"{path}: the list cannot be read: {error}") from None
    named: list[Case] = []
    plain: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith("{"):
            named.append(_case(text, f"{path}, line {number}"))
        elif text and not text.startswith("#"):
            plain.append(text)
    if not named and not plain:
        raise NoInputError(f"{path}: the list is empty", "nothing is left to do")
    found = discover(plain) if plain else FoundCases()
    cases = {case.key: case for case in (*named, *found)}
    if len(cases) < len(named) + len(found):
        raise ConfigError(f"{path}: two cases have the same key", "give each case once")
    return FoundCases(cases.values(), found.left_out)


def _case(text: str, where: str) -> Case:
    try:
        entry = json.loads(text)
        source, key = entry["path"], entry["key"]
    except (ValueError, KeyError):
        raise ConfigError(f"{where}: not an object with path and key") from None
    inside = isinstance(key, str) and key and ".." not in key.split("/") and key[0] != "/"
    if not isinstance(source, str) or not source or not inside:
        raise ConfigError(f"{where}: path and key must be text, and the key a relative name")
    return remote_case(source, key) if is_url(source) else Case(Path(source), key)
