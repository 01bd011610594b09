"""``ct-vae compare``: errors in HU of reconstructions made by any tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ct_vae.cli import metric_options, options
from ct_vae.cli.cases import find_cases, output_folder, work_through
from ct_vae.cli.option_groups import with_groups
from ct_vae.cli.progress import with_progress
from ct_vae.errors import ConfigError
from ct_vae.progress import report_stage
from ct_vae.terminal import say

if TYPE_CHECKING:
    from ct_vae.io import ReadOptions


@with_progress
@with_groups(options.READING_GROUP, metric_options.GROUP)
def compare(
    reference: Annotated[Path, typer.Argument(help="Original volume, or folder of originals.")],
    reconstruction: Annotated[
        Path, typer.Argument(help="Reconstruction, or folder of reconstructions.")
    ],
    output: options.Output,
    bits_per_voxel: metric_options.BitsPerVoxel = None,
    *,
    measuring: dict[str, Any],
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
    from ct_vae.evaluation.rate_distortion.measure import curves_of_pair
    from ct_vae.evaluation.reconstruction_check import reconstruction_warnings
    from ct_vae.evaluation.results import Results, number_cases
    from ct_vae.evaluation.settings import build_settings
    from ct_vae.io.search.cases import Case, FoundCases

    if bits_per_voxel is not None and not measuring["rate_distortion"]:
        raise ConfigError(
            "--bits-per-voxel is used by --rate-distortion only", "add it, or leave this out"
        )
    folder = output_folder(output)
    settings = build_settings(**measuring)
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
        report_stage("reading")
        original = case.read(reading)
        # A bad reconstruction may not look like CT, but must be measured.
        result = partner.read(replace(reading, force=True))
        report_stage("measuring")
        pair = Pair(original, result)
        used = results.masks(original, case.key, reading)
        rows = measure_pair(pair, settings.plan, used, (name, "reconstruction"))
        notes: list[str] = []
        if settings.plan.rate_distortion:
            results.add_curves(curves_of_pair(name, pair, bits_per_voxel, notes))
        patient = unit_of(case.path, name, settings.patients)
        odd = reconstruction_warnings(pair)
        results.warn(name, odd)
        for line in odd:
            say(f"warning: {partner.path}: {line}")
        results.add(name, (original, result), used, rows, patient=patient, notes=notes)
        return f"{case.path} and {partner.path} are {name}"

    with results.collecting():
        code = work_through(cases, work, "compare", folder)
    if results.rows:
        metric_options.show(results.rows)
    report_stage("writing the report")
    if results.warnings:
        count = len(results.warnings)
        say(f"warning: {count} reconstruction(s) may not be in HU; summary.json says why")
    results.finish()
    raise typer.Exit(code)
