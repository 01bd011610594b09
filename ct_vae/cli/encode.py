"""``ct-vae encode``: volumes to latent NIfTI files."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from ct_vae.cli import options
from ct_vae.cli.batch import name_targets, output_folder, work_through


def encode(  # noqa: PLR0913, PLR0917 - one parameter per option
    model: options.Model,
    inputs: options.Inputs,
    output: options.Output,
    device: options.Device = None,
    tiling: options.TilingMethod = None,
    tile: options.Tile = None,
    overlap: options.Overlap = None,
    max_memory_gb: options.MaxMemory = None,
    dtype: Annotated[
        Literal["int16", "float32"], typer.Option(help="How latents are stored; float32 is exact.")
    ] = "int16",
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw from the posterior; needs --seed.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draw.")] = None,
    frame: options.Frame = None,
    nan: options.Nan = "refuse",
    hu_offset: options.HuOffset = 0.0,
    assume_ras: options.AssumeRas = False,
    force: options.Force = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Encode CT volumes to latents, each with its record beside it.

    A latent that is already there, verified and of the same volume and model, is kept.
    """
    from ct_vae.errors import ConfigError
    from ct_vae.io import read_latent, read_volume, volume_sha256, write_latent
    from ct_vae.io.discover import Case, discover
    from ct_vae.io.latent import is_done

    if sample != (seed is not None):
        raise ConfigError("--sample and --seed go together", "give both or neither")
    folder = output_folder(output)
    reading = options.read_options(frame, nan, hu_offset, assume_ras, force)
    cases = discover(inputs)
    targets = name_targets(cases, folder, lambda key: f"{key}_latent.nii.gz")
    codec = options.load_codec_with(model, device, tiling, tile, overlap, max_memory_gb)

    def work(case: Case) -> str:
        volume = read_volume(case.path, reading)
        target = targets[case]
        # The digest passes over the whole volume: only where there is something to compare with.
        present = not overwrite and os.path.exists(target)  # noqa: PTH110 - bears names too long
        if present and is_done(target, volume_sha256(volume), codec.identity.sha256):
            record = read_latent(target).record
            stored = record.quantisation.dtype if record.quantisation else None
            if stored == dtype and codec.repeats(record, seed):
                return f"{target} is done already"
        latent = codec.encode(volume, sample=sample, seed=seed)
        run = write_latent(latent, target, dtype).record.run
        return f"{target} ({run.seconds if run else 0:.1f} s)"

    raise typer.Exit(work_through(cases, work, "encode", folder))
