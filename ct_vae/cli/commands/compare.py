"""``ct-vae compare``: errors in HU of reconstructions made by any tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ct_vae.cli import metric_options, options
from ct_vae.cli.cases import find_cases, output_folder, work_through
from ct_vae.terminal import say

if TYPE_CHECKING:
    from ct_vae.io import ReadOptions


@options.with_reading_options
def compare(  # noqa: PLR0913, PLR0917 - one parameter per option
    reference: Annotated[Path, typer.Argument(help="Original volume, or folder of originals.")],
    reconstruction: Annotated[
        Path, typer.Argument(help="Reconstruction, or folder of reconstructions.")
    ],
    output: options.Output,
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
    *,
    reading: ReadOptions,
) -> None:
    """Compare reconstructions with their originals: two files, or two folders.

    Files are paired by their path below the folder; a suffix such as _recon or _decoded is ignored.
    Results contain case numbers instead of names; the terminal shows which is which.

    Example: ct-vae compare originals reconstructions -o comparison --window lung
    """
    from dataclasses import asdict, replace

    from ct_vae.evaluation.measure import measure_pair
    from ct_vae.evaluation.metrics.pair import Pair
    from ct_vae.evaluation.pairs import find_results, pair_cases
    from ct_vae.evaluation.patients import unit_of
    from ct_vae.evaluation.reconstruction_check import reconstruction_warnings
    from ct_vae.evaluation.results import Results, number_cases
    from ct_vae.evaluation.settings import build_settings
    from ct_vae.io.search.cases import Case, FoundCases

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
    )
    metric_options.tell_masks(settings)
    found = find_cases([str(reference)])
    pairs = pair_cases(found, find_results(reconstruction))
    cases = FoundCases((original for original, _ in pairs), found.left_out)
    partners = dict(pairs)
    for line in settings.check(cases):
        say(line)
    results = Results(folder, settings, {"command": "compare", "read_options": asdict(reading)})
    names = number_cases(cases)

    def work(case: Case) -> str:
        name, partner = names[case], partners[case]
        original = case.read(reading)
        # A bad reconstruction may not look like CT, but must be measured.
        result = partner.read(replace(reading, force=True))
        pair = Pair(original, result)
        used = results.masks(original, case.key, reading)
        rows = measure_pair(pair, settings.plan, used, (name, "reconstruction"))
        patient = unit_of(case.path, name, settings.patients)
        odd = reconstruction_warnings(pair)
        results.warn(name, odd)
        for line in odd:
            say(f"warning: {partner.path}: {line}")
        results.add(name, (original, result), used, rows, patient=patient)
        return f"{case.path} and {partner.path} are {name}"

    with results.collecting():
        code = work_through(cases, work, "compare", folder)
    if results.rows:
        metric_options.show(results.rows)
    if results.warnings:
        count = len(results.warnings)
        say(f"warning: {count} reconstruction(s) may not be in HU; summary.json says why")
    results.finish()
    raise typer.Exit(code)
