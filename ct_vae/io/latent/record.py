"""JSON record of a latent, in a separate file and as a short copy in the latent file."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pydantic_core
from pydantic import ValidationError

from ct_vae.errors import ConfigError, InputError, value_message
from ct_vae.io.nifti.extensions import comment_extension, comments_in
from ct_vae.latent import RECORD_FORMAT, RECORD_VERSION, LatentRecord

CODED_SUFFIX = ".latz"
SUFFIXES = (".nii.gz", ".nii", CODED_SUFFIX)
LARGEST_RECORD = 1 << 24
_READ_BYTES = 1 << 16
_MOST_READS = LARGEST_RECORD // _READ_BYTES + 1
_HEAD_BYTES = 4096


def record_path(path: str | Path) -> Path:
    """Return the path of the record of a latent file.

    ``x_latent.nii.gz`` has ``x_latent.json``; ``x_latent.latz`` has ``x_latent.latz.json``, so
    that one folder can contain both forms.

    Raises:
        ConfigError: If the path does not have the suffix of a latent file.
    """
    path = Path(path)
    if is_coded_name(path):
        return path.with_name(f"{path.name}.json")
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.with_name(path.name[: -len(suffix)] + ".json")
    raise ConfigError(f"{path}: a latent file is named .nii.gz, .nii or {CODED_SUFFIX}")


def is_coded_name(path: str | Path) -> bool:
    """Return true if a file has the name of a coded latent."""
    name = Path(path).name.lower()
    return name.endswith(CODED_SUFFIX) and len(name) > len(CODED_SUFFIX)


def is_record(path: Path) -> bool:
    """Return True if a file is the record of a latent, valid or not."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return f'"{RECORD_FORMAT}"'.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


def latent_of_record(record: Path) -> Path:
    """Return the latent file that the JSON file ``record`` belongs to, whether it exists or not."""
    stem = record.name[: -len(".json")]
    if stem.lower().endswith(SUFFIXES):
        return record.with_name(stem)
    named = [record.with_name(stem + suffix) for suffix in SUFFIXES]
    return next((path for path in named if path.is_file()), named[0])


def record_bytes(record: LatentRecord) -> bytes:
    """Return a record as JSON text."""
    return record.model_dump_json(indent=2).encode() + b"\n"


def load_record(path: Path) -> LatentRecord | None:
    """Load a record, or return ``None`` if the file does not exist.

    Raises:
        InputError: If the file is not a record that this version supports.
    """
    try:
        with path.open("rb") as file:
            # Only as much memory as the record takes is allocated.
            parts = takewhile(bool, (file.read(_READ_BYTES) for _ in range(_MOST_READS)))
            text = b"".join(parts)
        return parse_record(text)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"its record {path.name} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"its record {path.name} {error.cause}", error.hint) from error


def parse_record(text: bytes) -> LatentRecord:
    """Parse a record.

    Raises:
        InputError: If the record is malformed, or of a newer version.
    """
    if len(text) > LARGEST_RECORD:
        raise InputError(f"is larger than {LARGEST_RECORD} bytes")
    try:
        loose = pydantic_core.from_json(text)
    except ValueError as error:
        raise InputError(f"is not valid JSON: {error}", "restore it or encode again") from error
    if not isinstance(loose, dict) or loose.get("format") != RECORD_FORMAT:
        raise InputError(f"is not the record of a latent: its format is not {RECORD_FORMAT!r}")
    version = loose.get("format_version")
    if isinstance(version, int) and version > RECORD_VERSION:
        raise InputError(
            f"has format version {version}, this package reads up to {RECORD_VERSION}",
            "install a newer ct_vae",
        )
    try:
        return LatentRecord.model_validate_json(text)
    except ValidationError as error:
        raise InputError(_first(error), "restore it or encode again") from error


def short_record_bytes(record: LatentRecord) -> bytes:
    """Return the short copy of a record for the latent file, as JSON text."""
    return record.model_dump_json(exclude={"run", "file_sha256"}).encode()


def record_extension(record: LatentRecord) -> bytes:
    """Return a NIfTI header extension with a short record, after the four-byte extension flag."""
    return comment_extension(short_record_bytes(record))


def record_in_extensions(extensions: bytes) -> LatentRecord | None:
    """Return the short record in the header extensions of a little-endian file, or ``None``.

    Raises:
        InputError: If there is a record that this version does not support.
    """
    mark = f'"{RECORD_FORMAT}"'.encode()
    texts = (text for text in comments_in(extensions) if mark in text[:100])
    return next(map(_parse_copy, texts), None)


def _parse_copy(text: bytes) -> LatentRecord:
    try:
        return parse_record(text)
    except InputError as error:
        raise InputError(f"the record in its header {error.cause}", error.hint) from error


def _first(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in problems[0]["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"is malformed at ${place}: {value_message(problems[0]['msg'])}{more}"
