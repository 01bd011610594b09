"""``ct-vae evaluate``: errors of a model in HU, compared with baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ct_vae.cli import metric_options, options
from ct_vae.cli.cases import find_cases, output_folder, work_through
from ct_vae.cli.codec_options import CODEC_GROUP, CodecOptions
from ct_vae.cli.option_groups import with_groups
from ct_vae.cli.progress import with_progress

# Parameters that apply to input volumes, not to phantoms.
_OF_INPUTS = ("latent", *metric_options.NAMES, *options.READING)

if TYPE_CHECKING:
    from ct_vae.io import ReadOptions


@with_progress
@with_groups(options.READING_GROUP, CODEC_GROUP, metric_options.GROUP)
def evaluate(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    model: options.Model,
    output: options.Output,
    inputs: metric_options.OptionalInputs = [],  # noqa: B006 - typer reads it and never changes it
    phantom: metric_options.Phantom = False,
    latent: metric_options.Latent = False,
    *,
    measuring: dict[str, Any],
    codec_options: CodecOptions,
    reading: ReadOptions,
) -> None:
    """Encode and decode volumes, and measure errors in HU, in the body and in clinical windows.

    Results include baselines: the preprocessing alone, the best linear code of blocks (KLT) and
    cubic resampling with as many values as the latent, JPEG 2000 at the same bits per voxel, and
    the best constant. With --phantom, synthetic objects of known size and HU are measured too, and
    INPUT is optional. Results contain case numbers instead of names; the terminal shows which is
    which. With --latent, properties that matter to diffusion models are measured too.

    Example: ct-vae evaluate ct-f4 test_scans -o evaluation --window lung
    """
    from ct_vae.evaluation.evaluation import Evaluation
    from ct_vae.evaluation.settings import build_settings

    if not inputs:
        hint = "give volumes, or leave them out" if phantom else "give volumes or --phantom"
        options.refuse_idle(ctx, _OF_INPUTS, "no INPUT is given", hint)
    folder = output_folder(output)
    settings = build_settings(**measuring, phantom=phantom, latent=latent)
    metric_options.tell_masks(settings)
    cases = find_cases(inputs, unique=False) if inputs or not phantom else []
    codec = codec_options.load(model)
    evaluation = Evaluation(codec, cases, folder, settings, reading)
    results = evaluation.results
    with results.collecting():
        code = work_through(cases, evaluation.work, "evaluate", folder)
    if results.rows:
        metric_options.show(results.rows)
    evaluation.finish()
    metric_options.tell_results(folder)
    raise typer.Exit(code)
