"""``ct-vae reconstruct``: encode and decode volumes in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ct_vae.cli import options
from ct_vae.cli.cases import find_cases, output_folder
from ct_vae.terminal import say

if TYPE_CHECKING:
    from ct_vae.io import ReadOptions


@options.with_reading_options
def reconstruct(  # noqa: PLR0913, PLR0917 - one parameter per option
    model: options.Model,
    inputs: options.Inputs,
    output: options.Output,
    device: options.Device = None,
    tiling: options.TilingMethod = None,
    tile: options.Tile = None,
    overlap: options.Overlap = None,
    max_memory_gb: options.MaxMemory = None,
    verbose: options.Verbose = False,
    *,
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

    options.refuse_idle_fallback(device, fallback)
    folder = output_folder(output)
    cases = find_cases(inputs)
    targets = name_targets(cases, folder, reconstruction_name)
    codec = options.load_codec_with(
        model, device, tiling, tile, overlap, max_memory_gb, verbose=verbose
    )
    codec.fallback = fallback
    work = reconstruction(codec, targets, reading)
    raise typer.Exit(do_cases(cases, work, "reconstruct", folder, say, shard))
