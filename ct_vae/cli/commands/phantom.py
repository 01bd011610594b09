"""``ct-vae phantom``: generate CT phantoms."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ct_vae.cli import options
from ct_vae.terminal import show


class Anatomy(StrEnum):
    """Body regions of phantoms, as choices of the command line."""

    THORAX = "thorax"
    ABDOMEN = "abdomen"
    HEAD = "head"


def phantom(
    ctx: typer.Context,
    output: options.Output,
    anatomy: Annotated[
        list[Anatomy],
        typer.Option(help="Body region; may be repeated. Defaults to all three."),
    ] = list(Anatomy),  # noqa: B006 - typer reads it and never changes it
    count: Annotated[int, typer.Option(min=1, help="Number of volumes.")] = 3,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed of the first volume; the others follow.")
    ] = 0,
    spacing_mm: Annotated[tuple[float, float, float], typer.Option(help="Voxel spacing in mm.")] = (
        2.0,
        2.0,
        2.0,
    ),
) -> None:
    """Write synthetic CT volumes with realistic HU; the same seed gives the same volume.

    Example: ct-vae phantom -o phantoms --anatomy thorax --count 2
    """
    from ct_vae.cli.cases import output_folder
    from ct_vae.config.data import PhantomConfig
    from ct_vae.datasets.sources.split import phantom_cases
    from ct_vae.errors import ConfigError
    from ct_vae.io import write_volume

    folder: Path = output_folder(output)
    if options.is_given(ctx, "anatomy") and count < len(anatomy):
        raise ConfigError(
            f"--count {count} leaves out some of the {len(anatomy)} regions of --anatomy",
            "increase --count, or give fewer",
        )
    if min(spacing_mm) <= 0:
        raise ConfigError(f"--spacing-mm {spacing_mm} must be positive")
    settings = PhantomConfig(anatomies=tuple(a.value for a in anatomy), spacing_mm=spacing_mm)
    for case in phantom_cases(settings, count, seed):
        target = folder / f"{case.key}.nii.gz"
        write_volume(case.load(), target)
        show(target)
