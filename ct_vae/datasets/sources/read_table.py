"""Reading of tables of volumes: comma-separated text with a header row."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Sequence
from pathlib import Path

from ct_vae.datasets.sources.entry import Listed, Problem, Side
from ct_vae.errors import ConfigError

_COLUMNS = ("image", "split", "patient", "fold")
_SIDES: dict[str, Side] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validation": "val",
    "test": "test",
}
_DELIMITERS = "\t;,"


def read_table(path: Path, problem: Problem) -> list[Listed]:
    """Read a table with the column ``image`` and the optional ``split``, ``patient`` and ``fold``.

    Fields are separated by tabs, semicolons or commas, as in the header row; they may be quoted,
    and surrounding spaces are ignored. Other columns are ignored unless their names look like
    typing errors. Without ``split``, all rows are training cases.

    Args:
        path: UTF-8 text, with or without a byte-order mark; paths in it are relative to its folder.
        problem: Called with an error for each invalid row.

    Raises:
        ConfigError: If the file cannot be read, or its header is invalid.
    """
    lines = _lines(_text(path), path)
    if not lines:
        raise ConfigError(f"{path}: is empty", f"its first row names columns: {_COLUMNS}")
    _, header = lines[0]
    places = _places([name.lower() for name in header], path)
    found: list[Listed] = []
    for number, fields in lines[1:]:
        try:
            found.append(_row(fields, places, len(header), f"line {number}", path.parent))
        except ConfigError as error:
            problem(error)
    if not found and len(lines) == 1:
        problem(ConfigError(f"{path}: has no row below its header"))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", "check the path") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 at byte {error.start}", "save it as CSV UTF-8"
        ) from None


def _lines(text: str, path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty, each with the number of its first line."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((sign for sign in _DELIMITERS if sign in first), ",")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    rows: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for fields in reader:
            stripped = [field.strip() for field in fields]
            if any(stripped):
                rows.append((begins, stripped))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(f"{path}: line {begins}: not a row of a table: {error}") from None
    return rows


def _places(header: Sequence[str], path: Path) -> dict[str, int]:
    """Return the index of each known column."""
    if len(set(header)) < len(header):
        double = next(name for name in header if header.count(name) > 1)
        raise ConfigError(f"{path}: column {double!r} occurs twice in its header")
    for name in header:
        near = difflib.get_close_matches(name, _COLUMNS, n=1, cutoff=0.75)
        if near and name not in _COLUMNS and near[0] not in header:
            raise ConfigError(f"{path}: column {name!r} is not known, did you mean {near[0]!r}?")
    if "image" not in header:
        raise ConfigError(
            f"{path}: its header has no column 'image': {', '.join(header)}"[:200],
            "the first row names the columns image, and perhaps split, patient and fold",
        )
    return {name: header.index(name) for name in _COLUMNS if name in header}


def _row(
    fields: Sequence[str], places: dict[str, int], width: int, where: str, folder: Path
) -> Listed:
    if len(fields) != width:
        raise ConfigError(
            f"{where} has {len(fields)} fields, the header {width}", "quote fields with separators"
        )
    values = {name: fields[place] for name, place in places.items()}
    for name, value in values.items():
        if not value:
            raise ConfigError(f"{where} has no value for {name!r}")
    side = _SIDES.get(values.get("split", "train").lower())
    if side is None:
        raise ConfigError(f"{where} split {values['split']!r} is not one of {', '.join(_SIDES)}")
    fold = values.get("fold")
    if fold is not None and not re.fullmatch(r"-?\d+", fold):
        raise ConfigError(f"{where} fold {fold!r} is not a whole number")
    number = None if fold is None else int(fold)
    return Listed(where, side, values["image"], folder, values.get("patient"), fold=number)
