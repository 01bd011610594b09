"""``ct-vae status``: state of a batch of encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae.cli import options
from ct_vae.cli.cases import find_cases
from ct_vae.cli.progress import with_progress
from ct_vae.errors import NoInputError
from ct_vae.terminal import say, show, show_json

# Failures that are printed; the others are in the lists of failures.
_SHOWN = 10


@with_progress
def status(
    output: Annotated[
        str, typer.Argument(help="Output folder of ct-vae encode, or its URL.", metavar="OUTPUT")
    ],
    inputs: Annotated[
        list[str],
        typer.Option("--inputs", help="Inputs of ct-vae encode; may be repeated.", metavar="INPUT"),
    ] = [],  # noqa: B006 - typer never changes it
    list_: options.CaseList = None,
    retry: Annotated[
        Path | None,
        typer.Option(
            help="Write a list of failed and left cases, for encode --from.", metavar="FILE"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count the cases that are done, failed, running and left, and list failures.

    Give the same inputs as to encode. Cases of all shards are counted, whichever process works on
    them. The exit code is 0 if all cases are done, and 8 otherwise.

    Example: ct-vae status latents --inputs scans --retry retry.jsonl
    """
    from ct_vae.batch.run_batch import SEVERAL_FAILED
    from ct_vae.batch.status import batch_status
    from ct_vae.find_volumes.case_list import write_case_list

    if not inputs and list_ is None:
        raise NoInputError(
            "no input was given",
            "give the inputs of ct-vae encode by --inputs, or a list by --from",
        )
    cases = find_cases(inputs, from_list=list_)
    found = batch_status(output, cases)
    if as_json:
        show_json(found.facts())
    else:
        show(found.line())
        causes = [*((c.source, w) for c, w in found.failed.items()), *found.unread.items()]
        for path, cause in causes[:_SHOWN]:
            show(f"  {path}: {cause.removeprefix(f'{path}: ')}")
        if len(causes) > _SHOWN:
            show(f"  and {len(causes) - _SHOWN} more, see failures*.jsonl in {output}")
    if retry is not None:
        write_case_list(retry, found.retry)
        say(f"{retry}: {len(found.retry)} cases")
    if len(found.done) < len(cases) or found.unread:
        raise typer.Exit(SEVERAL_FAILED)
