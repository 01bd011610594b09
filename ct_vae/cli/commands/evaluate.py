"""``ct-vae evaluate``: errors of a model in HU, compared with baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ct_vae.cli import metric_options, options
from ct_vae.cli.cases import find_cases, output_folder, work_through

# Parameters that apply to input volumes, not to phantoms.
_OF_INPUTS = (*metric_options.NAMES, *options.READING)

if TYPE_CHECKING:
    from ct_vae.io import ReadOptions


@options.with_reading_options
def evaluate(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: typer.Context,
    model: options.Model,
    output: options.Output,
    inputs: metric_options.OptionalInputs = [],  # noqa: B006 - typer reads it and never changes it
    phantom: metric_options.Phantom = False,
    windows: metric_options.Windows = [],  # noqa: B006 - typer reads it and never changes it
    metrics: metric_options.Metrics = "",
    protocol: metric_options.Protocol = None,
    masks: metric_options.MaskFiles = [],  # noqa: B006 - typer reads it and never changes it
    labels: metric_options.Labels = None,
    label_names: metric_options.LabelNames = None,
    write_masks: metric_options.WriteMasks = False,
    datalist: metric_options.Datalist = None,
    panels: metric_options.Panels = True,
    report: metric_options.Report = True,
    full: metric_options.Full = False,
    device: options.Device = None,
    tiling: options.TilingMethod = None,
    tile: options.Tile = None,
    overlap: options.Overlap = None,
    max_memory_gb: options.MaxMemory = None,
    verbose: options.Verbose = False,
    *,
    reading: ReadOptions,
) -> None:
    """Encode and decode volumes, and measure errors in HU, in the body and in clinical windows.

    Results include baselines: the preprocessing alone, the best linear code of blocks (KLT) and
    cubic resampling with as many values as the latent, JPEG 2000 at the same bits per voxel, and
    the best constant. With --phantom, synthetic objects of known size and HU are measured too, and
    INPUT is optional. Results contain case numbers instead of names; the terminal shows which is
    which.

    Example: ct-vae evaluate ct-f4 test_scans -o evaluation --window lung
    """
    from ct_vae.evaluation.evaluation import Evaluation
    from ct_vae.evaluation.settings import build_settings

    if not inputs:
        hint = "give volumes, or leave them out" if phantom else "give volumes or --phantom"
        options.refuse_idle(ctx, _OF_INPUTS, "no INPUT is given", hint)
    folder = output_folder(output)
    settings = build_settings(
        windows=windows,
        metrics=metrics,
        protocol=protocol,
        masks=masks,
        labels=labels,
        label_names=label_names,
        datalist=datalist,
        panels=panels,
        report=report,
        full=full,
        write_masks=write_masks,
        phantom=phantom,
    )
    metric_options.tell_masks(settings)
    cases = find_cases(inputs, unique=False) if inputs or not phantom else []
    codec = options.load_codec_with(
        model, device, tiling, tile, overlap, max_memory_gb, verbose=verbose
    )
    evaluation = Evaluation(codec, cases, folder, settings, reading)
    results = evaluation.results
    with results.collecting():
        code = work_through(cases, evaluation.work, "evaluate", folder)
    if results.rows:
        metric_options.show(results.rows)
    evaluation.finish()
    raise typer.Exit(code)
