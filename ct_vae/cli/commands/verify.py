"""``ct-vae verify``: check the integrity of files."""

from __future__ import annotations

from typing import Annotated

import typer

from ct_vae.cli.progress import with_progress
from ct_vae.progress import report_case, report_stage
from ct_vae.terminal import show, show_json


@with_progress
def verify(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Latents, volumes, DICOM series, model folders, folders of them, or URLs.",
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
    from ct_vae.find_volumes.remote_cases import local_copies

    report_stage("searching")
    verdicts: list[Verdict] = []
    with local_copies(files) as (paths, named):
        items = find_items(paths)
        for number, item in enumerate(items, 1):
            report_case(number, len(items), item.path.name)
            report_stage("verifying")
            verdicts.append(verify_item(item))
            if not as_json:
                show(named(verdicts[-1].line()))
    if as_json:
        rows = (each.facts().items() for each in verdicts)
        show_json([{k: named(v) if isinstance(v, str) else v for k, v in row} for row in rows])
    failed = [each for each in verdicts if each.status == "failed"]
    checked = [each for each in verdicts if each.status != "skipped"]
    if not checked:
        raise NoInputError("there is nothing to verify: all files that were found are skipped")
    if failed:
        raise typer.Exit(SEVERAL_FAILED if len(checked) > 1 else failed[0].exit_code)
