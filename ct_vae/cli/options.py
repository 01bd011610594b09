"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ct_vae.cli.help import completing
from ct_vae.cli.option_groups import OptionGroup
from ct_vae.config.default_models import default_models
from ct_vae.config.shipped_configs import shipped_configs

if TYPE_CHECKING:
    from ct_vae.io import ReadOptions

Model = Annotated[
    str,
    typer.Argument(
        help="Model folder, run folder, or the name of a default model such as ct-f4.",
        metavar="MODEL",
        autocompletion=completing(default_models),
    ),
]
Config = Annotated[
    str,
    typer.Argument(
        help="Run configuration: a JSON file, or a name that 'ct-vae config list' shows.",
        metavar="CONFIG",
        autocompletion=completing(shipped_configs),
    ),
]
Overrides = Annotated[
    list[str], typer.Option("--set", help="Override a key, such as training.lr=2e-4.")
]
Inputs = Annotated[
    list[str],
    typer.Argument(
        help="CT volumes: files, folders, quoted glob patterns, or URLs.", metavar="INPUT"
    ),
]
CaseList = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="File with one path per line, or a list written by ct-vae status --retry, instead of "
        "INPUT.",
        metavar="FILE",
    ),
]
Latents = Annotated[
    list[str],
    typer.Argument(
        help="Latents: files, folders, quoted glob patterns, or URLs.", metavar="LATENT"
    ),
]
LatentLayout = Annotated[
    Literal["plain", "vector", "maisi"],
    typer.Option(help="Plain 4-D, 5-D with vector intent, or MAISI (*_emb.nii.gz)."),
]
Step = Annotated[
    float | None,
    typer.Option(
        help="Rounding error of int8 and coded latents, in standard deviations of the posterior; "
        "defaults to 1. Larger steps give smaller files."
    ),
]
OutputOrUrl = Annotated[
    str, typer.Option("--output", "-o", help="Output folder, or its URL.", metavar="PATH")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Output folder.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda:N; defaults to a GPU if available.")]
TilingMethod = Annotated[
    Literal["exact", "blend", "whole"] | None,
    typer.Option(
        help="Exact slabs, blended tiles, or the whole volume at once. Defaults to the model's."
    ),
]
Tile = Annotated[int | None, typer.Option(min=1, help="Tile size in voxels, for blend.")]
Overlap = Annotated[
    float | None,
    typer.Option(min=0, max=0.99, help="Overlap of tiles as a fraction, for blend."),
]
TileBatch = Annotated[
    int | None,
    typer.Option(
        "--tile-batch",
        min=1,
        help="Tiles computed at once, for blend; defaults to one on a CPU, and to as many as are "
        "useful and fit into memory on a GPU.",
    ),
]
MaxMemory = Annotated[
    float | None,
    typer.Option("--max-memory-gb", min=0.01, help="Memory limit in GB, of the GPU or process."),
]
NumberFormat = Annotated[
    Literal["fp32", "tf32", "bf16"],
    typer.Option(
        "--precision",
        help="Number format of convolutions: fp32 (exact; the default on CPUs and GPUs), tf32 "
        "(GPUs), or bf16 (GPUs, and CPUs with AVX-512 BF16 or AMX). Latents and decoded files "
        "record it.",
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Print how each volume is divided into slabs or tiles.")
]
Frame = Annotated[int | None, typer.Option(min=0, help="Index of the time point of a 4-D file.")]
Nan = Annotated[
    Literal["refuse", "air"],
    typer.Option(help="Refuse volumes with non-finite voxels, or replace these by air."),
]
HuOffset = Annotated[float, typer.Option(help="Offset in HU added to every voxel, such as -1024.")]
AssumeRas = Annotated[
    bool, typer.Option("--assume-ras", help="Assume RAS+ for files without orientation.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Accept volumes that do not look like CT in HU.")
]
DecodedFormat = Annotated[
    Literal["nifti", "dicom"],
    typer.Option("--format", help="NIfTI files, or derived DICOM series."),
]
Like = Annotated[
    list[str] | None,
    typer.Option("--like", help="Source DICOM series, for --format dicom; may be repeated."),
]
KeepIdentity = Annotated[
    bool,
    typer.Option(
        "--keep-identity", help="Copy patient and study data to DICOM, for --format dicom."
    ),
]
AssumeHu = Annotated[
    bool, typer.Option("--assume-hu", help="Assume HU for DICOM images without rescale.")
]
ResampleIrregular = Annotated[
    bool,
    typer.Option(
        "--resample-irregular",
        help="Resample volumes with gaps, uneven spacing or gantry tilt to a regular grid.",
    ),
]
AnySopClass = Annotated[
    bool,
    typer.Option(
        "--any-sop-class",
        help="Accept CT images of other DICOM SOP classes, such as Secondary Capture.",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        help="Process shard I (from 0) of N; defaults to that of torchrun or the SLURM array. "
        "env/N takes the index from an array job of Kubernetes, PBS, LSF or Grid Engine.",
        metavar="I/N",
    ),
]
Split = Annotated[
    Literal["cases", "volume"],
    typer.Option(
        help="Divide the cases, or each volume, among the processes that torchrun starts."
    ),
]
Fallback = Annotated[
    Literal["cpu"] | None,
    typer.Option(help="Device for volumes that do not fit into GPU memory."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]


# Fields of `ReadOptions`, with the types and defaults of their options.
_READING: dict[str, tuple[Any, Any]] = {
    "frame": (Frame, None),
    "nan": (Nan, "refuse"),
    "hu_offset": (HuOffset, 0.0),
    "assume_ras": (AssumeRas, False),
    "force": (Force, False),
    "assume_hu": (AssumeHu, False),
    "resample_irregular": (ResampleIrregular, False),
    "any_sop_class": (AnySopClass, False),
}
READING = tuple(_READING)


def _read_options(**values: Any) -> ReadOptions:
    from ct_vae.io import ReadOptions

    return ReadOptions(**values)


READING_GROUP = OptionGroup("reading", _READING, _read_options)


def refuse_idle(ctx: typer.Context, names: Iterable[str], why: str, hint: str) -> None:
    """Raise an error if options are given that have no effect.

    Args:
        ctx: Context of the command.
        names: Parameters that have no effect with the other options.
        why: Reason, as one clause.
        hint: Advice for the user.

    Raises:
        ConfigError: If one of the parameters was given on the command line.
    """
    from ct_vae.errors import ConfigError

    wanted = set(names)
    idle = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name in wanted and is_given(ctx, str(parameter.name))
    ]
    if idle:
        raise ConfigError(f"{', '.join(idle)} would have no effect: {why}", hint)


def is_given(ctx: typer.Context, name: str) -> bool:
    """Return True if a parameter was given on the command line, even with its default value."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_idle_fallback(device: str | None, fallback: str | None) -> None:
    """Raise an error if the fallback device is the device itself.

    Raises:
        ConfigError: If both are the CPU.
    """
    from ct_vae.errors import ConfigError

    if device == fallback == "cpu":
        raise ConfigError(
            "--fallback cpu would have no effect with --device cpu",
            "leave out one of them",
        )
