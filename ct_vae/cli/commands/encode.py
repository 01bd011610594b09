"""``ct-vae encode``: volumes to latent NIfTI files."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ct_vae.cli import options
from ct_vae.cli.cases import find_cases, output_folder
from ct_vae.terminal import say


def encode(  # noqa: PLR0913, PLR0917 - one parameter per option
    model: options.Model,
    inputs: options.Inputs,
    output: options.Output,
    device: options.Device = None,
    tiling: options.TilingMethod = None,
    tile: options.Tile = None,
    overlap: options.Overlap = None,
    max_memory_gb: options.MaxMemory = None,
    verbose: options.Verbose = False,
    dtype: Annotated[
        Literal["int16", "float32"] | None,
        typer.Option(help="How latents are stored: int16 by default; float32 is exact."),
    ] = None,
    layout: Annotated[
        Literal["plain", "vector", "maisi"],
        typer.Option(help="4-D; 5-D with vector intent; *_emb.nii.gz for MAISI, in float32."),
    ] = "plain",
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw from the posterior; needs --seed.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draw.")] = None,
    frame: options.Frame = None,
    nan: options.Nan = "refuse",
    hu_offset: options.HuOffset = 0.0,
    assume_ras: options.AssumeRas = False,
    force: options.Force = False,
    assume_hu: options.AssumeHu = False,
    resample_irregular: options.ResampleIrregular = False,
    any_sop_class: options.AnySopClass = False,
    overwrite: options.Overwrite = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Compare volumes with what is done by voxels, not by size and time."
        ),
    ] = False,
    shard: options.Shard = None,
    fallback: options.Fallback = None,
) -> None:
    """Encode CT volumes to latents, each with its record beside it.

    A latent that is already there, verified and of the same volume and model, is kept; a volume
    whose files have the size and time that they had then is not read again. Several processes may
    share the work: by --shard, by torchrun, as a job array, or just started together.
    """
    from ct_vae.batch.jobs import do_cases, encoding, latent_name, name_targets
    from ct_vae.errors import ConfigError

    if sample != (seed is not None):
        raise ConfigError("--sample and --seed go together", "give both or neither")
    if overwrite and verify:
        raise ConfigError("--overwrite compares nothing, and --verify does", "give one of them")
    options.refuse_idle_fallback(device, fallback)
    folder = output_folder(output)
    reading = options.read_options(
        frame, nan, hu_offset, assume_ras, force, assume_hu, resample_irregular, any_sop_class
    )
    cases = find_cases(inputs)
    targets = name_targets(cases, folder, lambda key: latent_name(key, layout))
    codec = options.load_codec_with(
        model, device, tiling, tile, overlap, max_memory_gb, verbose=verbose
    )
    codec.fallback = fallback
    work = encoding(
        codec,
        targets,
        reading,
        dtype=dtype,
        layout=layout,
        seed=seed,
        keep="none" if overwrite else "verified" if verify else "untouched",
    )
    raise typer.Exit(do_cases(cases, work, "encode", folder, say, shard))
