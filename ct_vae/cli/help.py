"""Help of commands: options in groups, one style of placeholders, ``-h``, and completion."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ct_vae.errors import ConfigError, value_message

SETTINGS: Mapping[str, Any] = {"help_option_names": ["-h", "--help"]}
"""Context settings of every command and group of commands."""

# Groups of options in the help, in this order; other options are in the group "Options".
_PANELS = {
    "Input": "--frame --nan --hu-offset --assume-ras --assume-hu --force --resample-irregular "
    "--any-sop-class --like --config --datalist --mask --labels --label-names "
    "--reconstruction-labels --patient --from --inputs",
    "Model": "--tiling --tile --overlap --tile-batch --sample --seed --checkpoint --set",
    "Metrics": "--window --metrics --protocol --phantom --latent --rate-distortion "
    "--bits-per-voxel",
    "Memory and devices": "--device --precision --max-memory-gb --fallback --shard --split",
    "Output": "--output --dtype --layout --format --keep-identity --overwrite --verify --panels "
    "--report --full --retry --write-masks --json --title --verbose --quiet --help",
}
_PANEL_OF = {option: panel for panel, options in _PANELS.items() for option in options.split()}

# Commands with no more parameters than these list their options without groups.
_FEW = 9
_OUTPUT = ("-o", "--output")
# Placeholders of values by the type that typer displays; flags take no value.
_PLACEHOLDERS = {
    "bool": "",
    "int": "N",
    "int range": "N",
    "float": "X",
    "float range": "X",
    "path": "PATH",
    "str": "TEXT",
}

# Paths have one slash where URLs have two. Drives of Windows have one letter.
_URL_AS_PATH = re.compile(r"([a-z][a-z0-9+.-]+:)/(.+)", re.IGNORECASE | re.DOTALL)


class Command(TyperCommand):
    """Command with grouped options and uniform placeholders in its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; messages about wrong values state the value.

        Raises:
            ConfigError: If an argument or the output is an empty text.
        """
        _refuse_empty_texts(args)
        with plain_value_errors():
            return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help after the options got their groups and placeholders."""
        arrange(self, ctx)
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """Group of commands with uniform placeholders in its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; messages about wrong values state the value."""
        with plain_value_errors():
            return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help after the options got their placeholders."""
        arrange(self, ctx)
        super().format_help(ctx, formatter)


def _refuse_empty_texts(args: list[str]) -> None:
    """Refuse empty paths, which would mean the working folder. They come from unset variables."""
    for before, text in zip(["", *args], args, strict=False):
        if text == "" and (before in _OUTPUT or not before.startswith("-")):
            what = f"the value of {before}" if before in _OUTPUT else "an argument"
            raise ConfigError(f"{what} is an empty text", "check the variables of the command line")


@contextmanager
def plain_value_errors() -> Iterator[None]:
    """Reword the messages of pydantic about values of options, which typer passes on."""
    try:
        yield
    except typer.BadParameter as error:
        from pydantic import ValidationError

        found = error.__cause__
        if isinstance(found, ValidationError):
            given = found.errors()[0]["input"]
            text = value_message(error.message)
            error.message = text if repr(given) in text else f"{text}, got {given!r}"
        raise


def arrange(command: TyperCommand | TyperGroup, ctx: Any) -> None:
    """Set the placeholders of values, and the groups of options if there are many."""
    params: list[Any] = command.get_params(ctx)
    many = len(params) > _FEW
    for param in params:
        name = next((each for each in param.opts if each.startswith("--")), "")
        if not name:
            # The name of an argument says what it is; its type says less.
            param.display_type = lambda _: ""
            continue
        param.rich_help_panel = _PANEL_OF.get(name) if many else None
        if param.metavar is None:
            param.metavar = placeholder(str(param.display_type(ctx) or ""))
    command.params.sort(key=_panel_order)


def _panel_order(param: Any) -> int:
    """Return the position of the group of an option; arguments and other options come first."""
    panels = list(_PANELS)
    panel = getattr(param, "rich_help_panel", None)
    return panels.index(panel) if panel in panels else -1


def placeholder(shown: str) -> str:
    """Return the placeholder of a value for the type that typer displays, such as ``<int>``."""
    bare = shown.replace("list[", "").strip("<>[].")
    if "|" not in bare and "," in bare:
        return " ".join(placeholder(part) for part in bare.split(","))
    return _PLACEHOLDERS.get(bare, bare)


def completing(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return a completion of names in the package and of paths.

    Args:
        names: Function that returns all names.
    """

    def complete(incomplete: str) -> list[str]:
        known = [name for name in names() if name.startswith(incomplete)]
        folder, _, start = incomplete.rpartition("/")
        place = Path(folder or ("/" if incomplete.startswith("/") else "."))
        try:
            found = sorted(path.name for path in place.iterdir() if path.name.startswith(start))
        except OSError:
            found = []
        prefix = incomplete[: len(incomplete) - len(start)]
        return known + [prefix + name for name in found]

    return complete


def refusing_urls(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that refuses URLs where it takes local paths.

    As a path, a URL would name a folder such as ``s3:``. Commands that take URLs take text.
    """

    @wraps(command)
    def wrapper(**given: Any) -> None:
        for value in given.values():
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, Path) and (url := _URL_AS_PATH.fullmatch(str(each))):
                    slashes = "///" if url[1] == "file:" else "//"
                    raise ConfigError(
                        f"{url[1]}{slashes}{url[2]} is a URL instead of a local path",
                        "copy the files with another program",
                    )
        command(**given)

    return wrapper


def register(app: typer.Typer, panel: str, *commands: Callable[..., None]) -> None:
    """Add commands to an application, in a group of its help."""
    for command in commands:
        add = app.command(cls=Command, context_settings=dict(SETTINGS), rich_help_panel=panel)
        add(refusing_urls(command))


def register_group(app: typer.Typer, panel: str, name: str, group: typer.Typer) -> None:
    """Add a group of commands to an application, in a group of its help."""
    group.info.cls, group.info.context_settings = Group, dict(SETTINGS)
    for command in group.registered_commands:
        command.cls, command.context_settings = Command, dict(SETTINGS)
        if command.callback is not None:
            command.callback = refusing_urls(command.callback)
    app.add_typer(group, name=name, rich_help_panel=panel)
