"""``ct-vae decode``: latent NIfTI files back to CT volumes."""

from __future__ import annotations

import typer

from ct_vae.cli import options
from ct_vae.cli.batch import name_targets, output_folder, work_through


def decode(  # noqa: PLR0913, PLR0917 - one parameter per option
    model: options.Model,
    latents: options.Latents,
    output: options.Output,
    device: options.Device = None,
    tiling: options.TilingMethod = None,
    tile: options.Tile = None,
    overlap: options.Overlap = None,
    max_memory_gb: options.MaxMemory = None,
) -> None:
    """Decode latents to HU on the grid of their source; the result is not for diagnosis."""
    from ct_vae.io import read_latent, write_volume
    from ct_vae.io.discover import Case, discover

    folder = output_folder(output)
    cases = discover(latents, latents=True)
    targets = name_targets(
        cases, folder, lambda key: f"{key.removesuffix('_latent')}_decoded.nii.gz"
    )
    codec = options.load_codec_with(model, device, tiling, tile, overlap, max_memory_gb)

    def work(case: Case) -> str:
        target = targets[case]
        write_volume(codec.decode(read_latent(case.path)), target)
        return str(target)

    raise typer.Exit(work_through(cases, work, "decode", folder))
