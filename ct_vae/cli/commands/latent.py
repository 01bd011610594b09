"""``ct-vae latent``: convert stored latents between forms."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ct_vae.cli import options
from ct_vae.cli.cases import output_folder
from ct_vae.terminal import say

app = typer.Typer(help="Convert latents to another storage or layout.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep ``convert`` a subcommand, although it is the only one."""


@app.command()
def convert(
    latents: options.Latents,
    output: options.Output,
    *,
    dtype: Annotated[
        Literal["int8", "int16", "float32", "coded"],
        typer.Option(help="Storage of the results; coded gives .latz files."),
    ],
    layout: options.LatentLayout = "plain",
    step: options.Step = None,
    shard: options.Shard = None,
) -> None:
    """Convert latents to another storage or layout, without the model.

    Errors of the old and the new storage add up and are recorded. Steps of int8 and coded follow
    the posterior, so latents without its standard deviation in the record cannot be converted to
    them. Codes keep their storage. Existing files are replaced.

    Example: ct-vae latent convert latents -o small --dtype coded
    """
    from ct_vae.batch.jobs import converted_name, converting, do_cases, name_targets
    from ct_vae.find_volumes.cases import discover
    from ct_vae.io.latent.layout import check_layout
    from ct_vae.io.latent.storage import LatentForm, check_dtype

    form = LatentForm(dtype, layout, step)
    check_dtype(dtype, step)
    check_layout(layout, dtype, codes=False, axcodes="RAS")
    folder = output_folder(output)
    cases = discover(latents, latents=True, report=say)
    targets = name_targets(cases, folder, lambda key: converted_name(key, form))
    raise typer.Exit(do_cases(cases, converting(targets, form), "convert", folder, say, shard))
