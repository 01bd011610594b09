"""``ct-vae reconstruct``: through the model and back in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ct_vae.cli import options
from ct_vae.cli.batch import find_cases, name_targets, output_folder, overlap_work

if TYPE_CHECKING:
    from ct_vae.volume import Volume


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
    frame: options.Frame = None,
    nan: options.Nan = "refuse",
    hu_offset: options.HuOffset = 0.0,
    assume_ras: options.AssumeRas = False,
    force: options.Force = False,
    assume_hu: options.AssumeHu = False,
    resample_irregular: options.ResampleIrregular = False,
    shard: options.Shard = None,
    fallback: options.Fallback = None,
) -> None:
    """Encode and decode volumes and write only the reconstruction, not for diagnosis."""
    from ct_vae.inference.pipeline import Work
    from ct_vae.inference.read_bytes import volume_read_bytes
    from ct_vae.io import write_volume
    from ct_vae.io.discover import Case

    folder = output_folder(output)
    reading = options.read_options(
        frame, nan, hu_offset, assume_ras, force, assume_hu, resample_irregular
    )
    cases = find_cases(inputs)
    targets = name_targets(cases, folder, lambda key: f"{key}_reconstruction.nii.gz")
    codec = options.load_codec_with(
        model, device, tiling, tile, overlap, max_memory_gb, verbose=verbose
    )
    codec.fallback = fallback

    def make(_: Case, volume: Volume, beside: int) -> Volume:
        codec.beside = beside
        return codec.reconstruct(volume)

    def write(case: Case, volume: Volume) -> str:
        write_volume(volume, targets[case])
        return str(targets[case])

    work = Work(
        target=targets.__getitem__,
        read=lambda case: case.read(reading),
        make=make,
        write=write,
        read_bytes=lambda case: volume_read_bytes(case, reading),
        # Written slab by slab.
        write_bytes=lambda volume: volume.voxels.nbytes // 2,
        room=codec.host_room,
    )
    raise typer.Exit(overlap_work(cases, shard, work, "reconstruct", folder))
