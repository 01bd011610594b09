from __future__ import annotations

import inspect
from dataclasses import asdict, fields

import typer
from typer.testing import CliRunner

from ct_vae.cli import options
from ct_vae.cli.option_groups import with_groups
from ct_vae.io import ReadOptions


def test_options_for_reading_are_the_fields_and_defaults_of_read_options():
    taken = []

    @with_groups(options.READING_GROUP)
    def command(number: int, *, reading: ReadOptions, last: bool = False) -> None:
        taken.append((number, reading, last))

    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["number", *(f.name for f in fields(ReadOptions)), "last"]
    app = typer.Typer()
    app.command()(command)
    assert CliRunner().invoke(app, ["3"]).exit_code == 0
    given = ["4", "--frame", "2", "--nan", "air", "--hu-offset", "-1024", "--last"]
    flags = ["--assume-ras", "--force", "--assume-hu", "--resample-irregular", "--any-sop-class"]
    assert CliRunner().invoke(app, [*given, *flags]).exit_code == 0
    assert taken[0] == (3, ReadOptions(), False)
    assert taken[1][0] == 4
    assert tuple(asdict(taken[1][1]).values()) == (2, "air", -1024.0, *(True,) * 5)
    assert taken[1][2]
