"""Options and arguments that several commands share."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from ct_vae.inference.codec import Codec
    from ct_vae.io import ReadOptions

Model = Annotated[
    str,
    typer.Argument(
        help="Model folder, run folder, or the name of a default model such as ct-f4.",
        metavar="MODEL",
    ),
]
Inputs = Annotated[
    list[str],
    typer.Argument(help="Volumes: files, folders, or quoted glob patterns.", metavar="INPUT..."),
]
Latents = Annotated[
    list[str],
    typer.Argument(help="Latents: files, folders, or quoted glob patterns.", metavar="LATENT..."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda:N; a GPU is taken if there is one.")]
TilingMethod = Annotated[
    Literal["exact", "blend", "whole"] | None,
    typer.Option(help="Exact slabs (the default), blended tiles, or all at once."),
]
Tile = Annotated[int | None, typer.Option(min=1, help="With blend: side of a tile in voxels.")]
Overlap = Annotated[
    float | None,
    typer.Option(min=0, max=0.99, help="With blend: share of a tile shared with the next."),
]
MaxMemory = Annotated[
    float | None,
    typer.Option("--max-memory-gb", min=0.01, help="Bound for the process, or for the GPU."),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Tell how each volume is cut, before any work.")
]
Frame = Annotated[int | None, typer.Option(min=0, help="Which time point of a 4-D file.")]
Nan = Annotated[
    Literal["refuse", "air"], typer.Option(help="What becomes of voxels that are not numbers.")
]
HuOffset = Annotated[float, typer.Option(help="Added to every voxel, such as -1024.")]
AssumeRas = Annotated[
    bool, typer.Option("--assume-ras", help="Take files without orientation as RAS+.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Take volumes that do not look like CT in HU.")
]
DecodedFormat = Annotated[
    Literal["nifti", "dicom"], typer.Option("--format", help="Files or derived DICOM series.")
]
Like = Annotated[
    list[str] | None,
    typer.Option(
        "--like", help="With --format dicom: the series that were encoded; may be repeated."
    ),
]
KeepIdentity = Annotated[
    bool,
    typer.Option(
        "--keep-identity", help="With --format dicom: copy patient and study data from the source."
    ),
]
AssumeHu = Annotated[
    bool, typer.Option("--assume-hu", help="Take DICOM images without rescale as HU.")
]
ResampleIrregular = Annotated[
    bool,
    typer.Option(
        "--resample-irregular", help="Resample gaps, uneven spacing and tilt onto a regular grid."
    ),
]
AnySopClass = Annotated[
    bool,
    typer.Option(
        "--any-sop-class",
        help="Read DICOM images of CT whose SOP class is another, such as Secondary Capture.",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        help="i/n, from 0: do every n-th case. By default as torchrun or the job array says.",
        metavar="I/N",
    ),
]
Fallback = Annotated[
    Literal["cpu"] | None,
    typer.Option(help="Where a volume goes that the GPU's memory does not hold."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Do again what is done already.")]


# Names of the parameters that say how volumes are read.
READING = (
    "frame",
    "nan",
    "hu_offset",
    "assume_ras",
    "force",
    "assume_hu",
    "resample_irregular",
)


def refuse_idle(ctx: typer.Context, names: Iterable[str], why: str, hint: str) -> None:
    """Refuse options on the command line that nothing would heed.

    Args:
        ctx: Of the command.
        names: Parameters that have no effect beside the others that were given.
        why: Why they have none, in one clause.
        hint: What to do about it.

    Raises:
        ConfigError: With the options as they are typed.
    """
    from ct_vae.errors import ConfigError

    wanted = set(names)
    idle = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name in wanted and is_given(ctx, str(parameter.name))
    ]
    if idle:
        raise ConfigError(f"{', '.join(idle)} would change nothing: {why}", hint)


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether a parameter stands on the command line, be it with its default."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_idle_fallback(device: str | None, fallback: str | None) -> None:
    """Refuse a fallback to the CPU for work that is sent there anyway.

    Raises:
        ConfigError: If both are the CPU.
    """
    from ct_vae.errors import ConfigError

    if device == fallback == "cpu":
        raise ConfigError(
            "--fallback cpu would change nothing: --device cpu computes there already",
            "leave one of them out",
        )


def load_codec_with(
    model: str | Path,
    device: str | None,
    method: Literal["exact", "blend", "whole"] | None,
    tile: int | None,
    overlap: float | None,
    max_memory_gb: float | None,
    *,
    verbose: bool = False,
) -> Codec:
    """Load a model; options that were given override those of its configuration.

    A process that torchrun has started takes its own GPU, unless a device is named.

    Raises:
        ConfigError: If there is no such device, or options are given that nothing would heed.
        WeightsError: If the model folder is damaged.
    """
    from ct_vae.errors import ConfigError
    from ct_vae.inference.codec import load_codec
    from ct_vae.inference.device import device_of_process
    from ct_vae.inference.tiling import Tiling
    from ct_vae.terminal import say

    codec = load_codec(model, device or device_of_process(os.environ))
    own = codec.tiling
    chosen = own.method if method is None else method
    if chosen != "blend" and not (tile is None and overlap is None):
        raise ConfigError(
            f"--tile and --overlap are about blended tiles, and the tiling is {chosen}",
            "add --tiling blend, or leave them out",
        )
    codec.tiling = Tiling(
        chosen,
        own.tile if tile is None else tile,
        own.overlap if overlap is None else overlap,
        own.max_memory_gb if max_memory_gb is None else max_memory_gb,
    )
    codec.tell = say if verbose else None
    codec.warn = say
    return codec


def read_options(  # noqa: PLR0913, PLR0917 - one parameter per option
    frame: int | None,
    nan: Literal["refuse", "air"],
    hu_offset: float,
    assume_ras: bool,
    force: bool,
    assume_hu: bool,
    resample_irregular: bool,
    any_sop_class: bool,
) -> ReadOptions:
    """Bundle the options about reading volumes."""
    from ct_vae.io import ReadOptions

    return ReadOptions(
        frame, nan, hu_offset, assume_ras, force, assume_hu, resample_irregular, any_sop_class
    )
