"""``ct-vae encode``: volumes to latent NIfTI files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ct_vae.cli import options
from ct_vae.cli.batch import find_cases, name_targets, output_folder, overlap_work

if TYPE_CHECKING:
    from ct_vae.inference.codec import Codec
    from ct_vae.latent import Latent
    from ct_vae.volume import Volume


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
    overwrite: options.Overwrite = False,
    shard: options.Shard = None,
    fallback: options.Fallback = None,
) -> None:
    """Encode CT volumes to latents, each with its record beside it.

    A latent that is already there, verified and of the same volume and model, is kept. Several
    processes may share the work: by --shard, by torchrun, as a job array, or just started together.
    """
    from ct_vae.errors import ConfigError
    from ct_vae.inference.pipeline import Kept, Work
    from ct_vae.inference.read_bytes import volume_read_bytes
    from ct_vae.io import write_latent
    from ct_vae.io.discover import Case
    from ct_vae.io.latent import default_dtype
    from ct_vae.io.latent_layout import check_layout, latent_ending

    if sample != (seed is not None):
        raise ConfigError("--sample and --seed go together", "give both or neither")
    folder = output_folder(output)
    reading = options.read_options(
        frame, nan, hu_offset, assume_ras, force, assume_hu, resample_irregular
    )
    cases = find_cases(inputs)
    targets = name_targets(cases, folder, lambda key: key + latent_ending(layout))
    codec = options.load_codec_with(
        model, device, tiling, tile, overlap, max_memory_gb, verbose=verbose
    )
    codec.fallback = fallback
    stored_as = dtype or default_dtype(layout)
    codes = codec.identity.latent_type != "kl"
    check_layout(layout, stored_as, codes, codec.preprocessor.axcodes)

    def make(case: Case, volume: Volume, beside: int) -> Latent | Kept:
        target, codec.beside = targets[case], beside
        if not overwrite and _is_kept(target, volume, codec, seed, stored_as, layout):
            return Kept(f"{target} is done already")
        return codec.encode(volume, sample=sample, seed=seed)

    def write(case: Case, latent: Latent) -> str:
        run = write_latent(latent, targets[case], stored_as, layout).record.run
        return f"{targets[case]} ({run.seconds if run else 0:.1f} s)"

    work = Work(
        target=targets.__getitem__,
        read=lambda case: case.read(reading),
        make=make,
        write=write,
        read_bytes=lambda case: volume_read_bytes(case, reading),
        # Stored values, and the file twice on its way to the disk.
        write_bytes=lambda latent: 3 * latent.array.nbytes,
        room=codec.host_room,
    )
    raise typer.Exit(overlap_work(cases, shard, work, "encode", folder))


def _is_kept(
    target: Path, volume: Volume, codec: Codec, seed: int | None, stored_as: str, layout: str
) -> bool:
    """Whether a verified latent lies there that encoding would only repeat."""
    from ct_vae.io import read_latent, volume_sha256
    from ct_vae.io.latent import is_done

    # The digest passes over the whole volume: only where there is something to compare with.
    present = os.path.exists(target)  # noqa: PTH110 - bears names too long
    if not present or not is_done(target, volume_sha256(volume), codec.identity.sha256):
        return False
    record = read_latent(target).record
    # Codes are stored as their range demands.
    stored = record.quantisation.dtype if record.quantisation else None
    same = record.kind == "codes" or stored == stored_as
    return same and record.layout == layout and codec.repeats(record, seed)
