"""``ct-vae reconstruct``: encode and decode volumes in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ct_vae.cli import options
from ct_vae.cli.cases import find_cases, output_or_url
from ct_vae.cli.codec_options import CODEC_GROUP, CodecOptions
from ct_vae.cli.option_groups import with_groups
from ct_vae.cli.progress import with_progress
from ct_vae.terminal import say

if TYPE_CHECKING:
    from ct_vae.io import ReadOptions


@with_progress
@with_groups(options.READING_GROUP, CODEC_GROUP)
def reconstruct(
    model: options.Model,
    inputs: options.Inputs,
    output: options.OutputOrUrl,
    *,
    codec_options: CodecOptions,
    reading: ReadOptions,
    shard: options.Shard = None,
    fallback: options.Fallback = None,
) -> None:
    """Encode and decode volumes, and write the reconstructions only.

    Reconstructions are not for diagnosis.

    Example: ct-vae reconstruct ct-f4 scan.nii.gz -o reconstructions
    """
    from ct_vae.batch.jobs import (
        do_cases,
        name_targets,
        reconstruction,
        reconstruction_name,
    )
    from ct_vae.batch.remote_output import opened_output

    options.refuse_idle_fallback(codec_options.device, fallback)
    place = output_or_url(output)
    cases = find_cases(inputs)
    with opened_output(place) as folder:
        targets = name_targets(cases, folder.local, reconstruction_name)
        folder.check_inputs(cases, targets.values())
        codec = codec_options.load(model, fallback)
        work = folder.staged(reconstruction(codec, targets, reading))
        report = folder.with_urls(say)
        code = do_cases(cases, work, "reconstruct", folder.local, report, shard)
    raise typer.Exit(code)
