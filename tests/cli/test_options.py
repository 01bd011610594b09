from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from ct_vae.cli import options
from ct_vae.errors import ConfigError
from ct_vae.io import ReadOptions


def run(*words):
    """Run a command that refuses idle options; return the names of the options that were given."""
    app, found = typer.Typer(), []

    @app.command()
    def command(
        ctx: typer.Context,
        tile: options.Tile = 96,
        device: options.Device = None,
        quiet: Annotated[bool, typer.Option("--quiet")] = False,
    ) -> None:
        found.extend(name for name in ("tile", "device", "quiet") if options.is_given(ctx, name))
        options.refuse_idle(ctx, ("tile", "device"), "it is a test", "leave them out")

    result = CliRunner().invoke(app, words)
    if isinstance(result.exception, ConfigError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return found


def test_an_option_is_given_even_with_its_default_value():
    assert run() == []
    assert run("--quiet") == ["quiet"]
    with pytest.raises(ConfigError, match=r"^--tile would have no effect: it is a test") as error:
        run("--tile", "96")
    assert error.value.hint == "leave them out"


def test_all_options_without_effect_are_named_at_once():
    with pytest.raises(ConfigError, match=r"^--tile, --device would have no effect"):
        run("--tile", "8", "--device", "cpu")


@pytest.mark.parametrize(("device", "fallback"), [("cuda:0", "cpu"), (None, "cpu"), ("cpu", None)])
def test_a_fallback_differs_from_the_device(device, fallback):
    options.refuse_idle_fallback(device, fallback)
    with pytest.raises(ConfigError, match="--fallback cpu would have no effect"):
        options.refuse_idle_fallback("cpu", "cpu")


def test_values_of_reading_become_read_options():
    values = {name: default for name, (_, default) in options.READING_GROUP.options.items()}
    assert options.READING_GROUP.build(**values) == ReadOptions()
    assert options.READING_GROUP.build(**values | {"force": True}) == ReadOptions(force=True)
