"""Reading of configuration files, with errors that name the JSON path and suggest a key."""

from __future__ import annotations

import difflib
import itertools
import json
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ct_vae.config.default_models import find_model
from ct_vae.config.foreign_keys import advice_on, meant_key, note_on
from ct_vae.config.run import RunConfig
from ct_vae.config.shipped_configs import find_config
from ct_vae.errors import ConfigError, WeightsError, value_message

# Type names as they occur in the location of a pydantic error.
_TYPES = {"constrained-int", "int", "float", "str", "bool", "none"}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check a run configuration.

    Args:
        path: JSON file, or the name of a configuration in the package such as ``quickstart``.
        overrides: Assignments such as ``training.lr=2e-4``. A value that is not JSON is a string.

    Raises:
        ConfigError: If the file cannot be read or is invalid; it lists every invalid key.
    """
    tree = read_json(find_config(path))
    for assignment in overrides:
        _assign(tree, assignment)
    return parse_config(_with_architecture(tree), str(path))


def _with_architecture(tree: dict[str, Any]) -> dict[str, Any]:
    """Use architecture and preprocessing of ``model.ckpt_path`` if no other key is set.

    Sections and keys that the configuration has itself are kept.
    """
    model = tree.get("model")
    if not isinstance(model, dict) or list(model) != ["ckpt_path"] or not model["ckpt_path"]:
        return tree
    try:
        path = find_model(str(model["ckpt_path"])) / "config.json"
    except WeightsError:
        # Loading the weights says what is wrong.
        return tree
    found = read_json(path) if path.is_file() else {}
    if not {"model", "preprocess"} <= found.keys():
        return tree
    return {"preprocess": found["preprocess"], **tree, "model": found["model"] | model}


def parse_config(tree: dict[str, Any], where: str) -> RunConfig:
    """Validate a configuration read from JSON.

    Args:
        tree: Content of the file.
        where: Name of the file in error messages.

    Raises:
        ConfigError: If a key is unknown or a value is invalid.
    """
    try:
        # Strict mode takes lists for tuples only when the source is JSON.
        return RunConfig.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        hint, found = "see 'ct-vae config schema'", problems(error, RunConfig)
        if len(found) == 1:
            raise ConfigError(f"{where}: {found[0]}", hint) from None
        raise ConfigError(f"{where}: {len(found)} problems", hint, found) from None


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object; duplicate keys, NaN and infinities are errors.

    Raises:
        ConfigError: If the file cannot be read, or is not a valid JSON object.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        tree = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", "check the path") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{path}: not JSON: {error.msg} at {where}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a JSON object, got {type(tree).__name__}")
    return tree


def describe(error: ValidationError, root: type[BaseModel], where: str) -> str:
    """Format all errors of a failed validation on one line, each with its JSON path."""
    found = problems(error, root)
    if len(found) == 1:
        return f"{where}: {found[0]}"
    return f"{where}: {len(found)} problems: " + " | ".join(found)


def problems(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Return one line for each error of a failed validation, with its JSON path."""
    fields: dict[tuple[str | int, ...], list[Any]] = {}
    for item in error.errors(include_url=False):
        # An unknown key may have the name of a type.
        unknown = item["type"] == "extra_forbidden"
        field = item["loc"] if unknown else _before_branches(item["loc"])
        fields.setdefault(field, []).append(item)
    return [_problem(items, root) for items in fields.values()]


def _problem(items: Sequence[Any], root: type[BaseModel]) -> str:
    """Format one problem; a field with several types has one item per type."""
    if items[0]["type"] == "extra_forbidden":
        loc = items[0]["loc"]
        return f"{json_path(loc)} is not a known key{_suggestion(loc, root)}"
    places = [tuple(part for part in item["loc"] if not _is_branch(part)) for item in items]
    # The deepest location belongs to the type that the user most likely meant.
    loc = max(places, key=len)
    closest = [item for item, place in zip(items, places, strict=True) if len(place) == len(loc)]
    path = json_path(loc)
    messages = dict.fromkeys(_message(item["msg"]) for item in closest)
    message = " or ".join(messages).replace(" or Input should be", " or")
    if closest[0]["type"] == "value_error":
        return f"{path}: {message}" if path else message
    return f"{path}: {message}, got {json.dumps(closest[0]['input'], default=str)[:80]}"


def _message(text: str) -> str:
    return (
        value_message(text)
        .replace("a valid tuple", "a list of numbers")
        .replace("Tuple should", "List should")
        .replace(" after validation", "")
    )


def _before_branches(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return the part of a location before the types of a union field."""
    return tuple(itertools.takewhile(lambda part: not _is_branch(part), loc))


def _is_branch(part: str | int) -> bool:
    """Return True if a part of a location is a type such as ``int``, not a key."""
    return isinstance(part, str) and (part in _TYPES or "[" in part)


def json_path(loc: Sequence[str | int]) -> str:
    """Format a location as a path such as ``training.betas[1]``."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _suggestion(loc: tuple[str | int, ...], root: type[BaseModel]) -> str:
    here = _section_at(root, loc[:-1])
    key = str(loc[-1])
    sections = {name: _as_section(field.annotation) for name, field in root.model_fields.items()}
    for name, section in sections.items():
        if section and key in _keys(section):
            return f", it belongs to section {name!r}"
    if meant := _meant(key, root):
        return f", did you mean {meant}{note_on(str(meant_key(key)))}?"
    if root is RunConfig and (advice := advice_on(key)):
        return f"; {advice}"
    close = difflib.get_close_matches(key, _keys(here), n=1) if here else []
    if close:
        return f", did you mean {json_path([*loc[:-1], close[0]])}?"
    return f", known keys: {', '.join(_keys(here))}" if here else ""


def _meant(key: str, root: type[BaseModel]) -> str | None:
    """Return the key of this configuration that means the same as one of another project."""
    meant = meant_key(key)
    if meant is None:
        return None
    *section, name = meant.split(".")
    here = _section_at(root, section)
    if here is not None and name in _keys(here):
        return meant
    # A section by itself, such as the arguments of a model.
    return name if name in _keys(root) else None


def _section_at(root: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    here: type[BaseModel] | None = root
    for part in loc:
        if here is None or part not in here.model_fields:
            return None
        here = _as_section(here.model_fields[str(part)].annotation)
    return here


def _as_section(annotation: Any) -> type[BaseModel] | None:
    options = (annotation,)
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        options = typing.get_args(annotation)
    for option in options:
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _keys(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _assign(tree: dict[str, Any], assignment: str) -> None:
    path, equals, text = assignment.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {assignment!r} is not of the form section.key=value")
    here = tree
    for key in keys[:-1]:
        here = here.setdefault(key, {})
        if not isinstance(here, dict):
            raise ConfigError(f"--set {assignment!r}: {key} holds a value, not a section")
    try:
        here[keys[-1]] = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError:
        here[keys[-1]] = text
    except ValueError as error:
        raise ConfigError(f"--set {assignment!r}: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {double!r} occurs twice")
    return tree


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not allowed in a configuration")


def schema_text() -> str:
    """Return the JSON Schema of the configuration, the text of ``config/shipped/schema.json``."""
    schema = RunConfig.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2) + "\n"
