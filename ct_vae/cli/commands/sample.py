"""``ct-vae sample``: reconstructions and random samples of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ct_vae.cli import options
from ct_vae.cli.cases import output_folder
from ct_vae.cli.codec_options import CODEC_GROUP, CodecOptions
from ct_vae.cli.option_groups import with_groups
from ct_vae.cli.progress import with_progress
from ct_vae.terminal import say, show

if TYPE_CHECKING:
    from ct_vae.io import ReadOptions


@with_progress
@with_groups(options.READING_GROUP, CODEC_GROUP.without("verbose"))
def sample(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help="Run folder or model folder.", metavar="RUN")],
    output: options.Output,
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Volumes to reconstruct; defaults to the phantoms of the run.",
            metavar="INPUT",
        ),
    ] = [],  # noqa: B006 - typer reads it as the default and never changes it
    config: Annotated[
        str | None,
        typer.Option(
            help="Run configuration with the validation volumes to reconstruct.", metavar="CONFIG"
        ),
    ] = None,
    checkpoint: Annotated[
        Literal["best", "last", "both"],
        typer.Option(help="Checkpoint: lowest validation error, last save, or both."),
    ] = "last",
    count: Annotated[int, typer.Option(min=0, help="Number of random latents.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the latents.")] = 0,
    size: Annotated[
        tuple[int, int, int] | None,
        typer.Option(help="Size of random volumes in voxels; defaults to a training patch."),
    ] = None,
    spacing_mm: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Spacing of random volumes in mm; defaults to that of the data."),
    ] = None,
    *,
    codec_options: CodecOptions,
    reading: ReadOptions,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove earlier samples from the folder.")
    ] = False,
) -> None:
    """Write reconstructions, decoded random latents, and an overview image.

    The same seed gives the same random volumes for any --count. Results are not for diagnosis.

    Example: ct-vae sample runs/kl_f4 case.nii.gz -o samples
    """
    from ct_vae.config.default_models import find_model
    from ct_vae.training.sample_sources import find_originals
    from ct_vae.training.samples import SampleOptions, sample_run

    if count == 0:
        options.refuse_idle(
            ctx,
            ("seed", "size", "spacing_mm"),
            "--count 0 draws no samples",
            "leave out one of them",
        )
    if not inputs and config is None:
        options.refuse_idle(
            ctx, options.READING, "no file is read", "give volumes after RUN, or --config"
        )
    folder = output_folder(output)
    run = find_model(run)
    originals = find_originals(run, inputs, config, reading, say)

    code = sample_run(
        run,
        originals,
        folder,
        SampleOptions(count, seed, size, spacing_mm, overwrite),
        checkpoint,
        load=codec_options.load,
        report=say,
    )
    show(folder)
    raise typer.Exit(code)
