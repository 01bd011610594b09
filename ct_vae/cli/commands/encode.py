"""``ct-vae encode``: encode volumes to latent NIfTI files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ct_vae.cli import options
from ct_vae.cli.cases import divide_work, find_cases, output_or_url
from ct_vae.cli.codec_options import CODEC_GROUP, CodecOptions
from ct_vae.cli.option_groups import with_groups
from ct_vae.cli.progress import with_progress
from ct_vae.terminal import say

if TYPE_CHECKING:
    from ct_vae.io import ReadOptions


@with_progress
@with_groups(options.READING_GROUP, CODEC_GROUP)
def encode(  # noqa: PLR0913 - one parameter per option
    model: options.Model,
    output: options.OutputOrUrl,
    inputs: options.Inputs = [],  # noqa: B006 - typer never changes it
    *,
    codec_options: CodecOptions,
    dtype: Annotated[
        Literal["int8", "int16", "float32", "coded"] | None,
        typer.Option(
            help="Storage of latents; defaults to int16, or float32 with --posterior. float32 is "
            "lossless; coded gives .latz files of about a third of the size of int16."
        ),
    ] = None,
    step: options.Step = None,
    layout: options.LatentLayout = "plain",
    sample: Annotated[
        bool,
        typer.Option(
            "--sample", help="Sample from the posterior instead of its mean; needs --seed."
        ),
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed for --sample.")] = None,
    posterior: Annotated[
        bool,
        typer.Option(
            "--posterior",
            help="Store the standard deviations of the posterior after the means.",
        ),
    ] = False,
    list_: options.CaseList = None,
    reading: ReadOptions,
    overwrite: options.Overwrite = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare inputs with existing latents by voxels, not by file size and time.",
        ),
    ] = False,
    shard: options.Shard = None,
    split: options.Split = "cases",
    fallback: options.Fallback = None,
) -> None:
    """Encode CT volumes to latent files, each with a JSON record.

    Existing latents of the same volume and model are verified and kept. A volume is not read again
    if its files have the same size and modification time. Several processes can share the work: by
    --shard, torchrun or a job array, or simply by running the same command.

    torchrun can also divide each volume, for volumes that exceed the memory of one GPU:
    torchrun --nproc-per-node 2 -m ct_vae encode ... --split volume

    Example: ct-vae encode ct-f4 scan.nii.gz -o latents
    """
    from ct_vae.batch.jobs import do_cases, encoding, latent_name, name_targets
    from ct_vae.batch.remote_output import opened_output
    from ct_vae.errors import ConfigError
    from ct_vae.io.latent.storage import LatentForm, check_dtype

    if sample != (seed is not None):
        raise ConfigError("--sample and --seed go together", "give both or neither")
    if sample and posterior:
        raise ConfigError("--sample and --posterior exclude each other", "give one of them")
    if overwrite and verify:
        raise ConfigError("--overwrite and --verify exclude each other", "give one of them")
    options.refuse_idle_fallback(codec_options.device, fallback)
    place = output_or_url(output)
    form = LatentForm(dtype, layout, step, posterior)
    check_dtype(form.storage, step)
    cases = find_cases(inputs, from_list=list_)
    with opened_output(place) as folder:
        targets = name_targets(cases, folder.local, lambda key: latent_name(key, form))
        folder.check_inputs(cases, targets.values())
        codec = codec_options.load(model, fallback)
        work = encoding(
            codec,
            targets,
            reading,
            form=form,
            seed=seed,
            keep="none" if overwrite else "verified" if verify else "untouched",
        )
        staged, report = folder.staged(work), folder.with_urls(say)
        run = partial(do_cases, cases, staged, "encode", folder.local, report)
        code = divide_work(codec, split, shard, run)
    raise typer.Exit(code)
