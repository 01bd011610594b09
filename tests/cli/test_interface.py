"""What users type and store keeps its name and its default; `interface.json` lists it."""

from __future__ import annotations

import json
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
import typer

from ct_vae.cli.main import app
from ct_vae.config.load import schema_text

ABSENT = "absent"
STORED = json.loads(Path(__file__).with_name("interface.json").read_text("utf-8"))


def options_of(command: Any) -> dict[str, Any]:
    """Each argument and option name of a command, with its default."""
    return {
        name: parameter.default
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def commands(group: Any, prefix: str = "") -> dict[str, Any]:
    """Options of each command, subcommands included, under the words that are typed."""
    found = {prefix.strip(): options_of(group)}
    for name, command in getattr(group, "commands", {}).items():
        found |= commands(command, f"{prefix} {name}")
    return found


def schema_keys() -> dict[str, Any]:
    """Each key of the configuration's sections, as the schema has it, with its default."""
    definitions = json.loads(schema_text())["$defs"]
    return {
        f"{section}.{key}": value.get("default")
        for section, definition in definitions.items()
        for key, value in definition.get("properties", {}).items()
    }


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


@pytest.mark.parametrize("command", STORED["commands"])
def test_options_of_a_command_keep_their_names_and_defaults(command):
    now = as_json(commands(typer.main.get_command(app))[command])
    stored = STORED["commands"][command]
    assert {name: now.get(name, ABSENT) for name in stored} == stored


@pytest.mark.parametrize("section", sorted({key.split(".")[0] for key in STORED["schema"]}))
def test_keys_of_the_configuration_keep_their_names_and_defaults(section):
    now = schema_keys()
    stored = {k: v for k, v in STORED["schema"].items() if k.split(".")[0] == section}
    assert {key: now.get(key, ABSENT) for key in stored} == stored


@pytest.mark.parametrize("name", STORED["public"])
def test_public_names_can_be_imported_from_where_they_were(name):
    assert locate(name) is not None
