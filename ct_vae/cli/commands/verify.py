"""``ct-vae verify``: check the integrity of files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ct_vae.cli.progress import with_progress
from ct_vae.progress import report_case, report_stage
from ct_vae.terminal import show, show_json


@with_progress
def verify(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Latents, volumes, DICOM series, model folders, or folders of them.",
            metavar="FILE",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that files are complete and match their checksums and records.

    Example: ct-vae verify latents runs/kl_f4
    """
    from ct_vae.batch.run_batch import SEVERAL_FAILED
    from ct_vae.batch.verify import Verdict, find_items, verify_item
    from ct_vae.errors import NoInputError

    report_stage("searching")
    items = find_items(files)
    verdicts: list[Verdict] = []
    for number, item in enumerate(items, 1):
        report_case(number, len(items), item.path.name)
        report_stage("verifying")
        verdicts.append(verify_item(item))
        if not as_json:
            show(verdicts[-1].line())
    if as_json:
        show_json([each.facts() for each in verdicts])
    failed = [each for each in verdicts if each.status == "failed"]
    checked = [each for each in verdicts if each.status != "skipped"]
    if not checked:
        raise NoInputError("there is nothing to verify: all files that were found are skipped")
    if failed:
        raise typer.Exit(SEVERAL_FAILED if len(checked) > 1 else failed[0].exit_code)
