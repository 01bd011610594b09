"""``ct-vae compare``: errors in HU of reconstructions made by any tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ct_vae.cli import metric_options, options
from ct_vae.cli.cases import find_cases, output_folder, work_through
from ct_vae.cli.option_groups import with_groups
from ct_vae.cli.progress import with_progress

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
    from ct_vae.evaluation.comparison import Comparison
    from ct_vae.evaluation.pairs import find_results, pair_cases
    from ct_vae.evaluation.settings import build_settings
    from ct_vae.find_volumes.cases import FoundCases

    folder = output_folder(output)
    settings = build_settings(**measuring)
    metric_options.tell_masks(settings)
    found = find_cases([str(reference)])
    partners = dict(pair_cases(found, find_results(reconstruction)))
    comparison = Comparison(partners, folder, settings, reading, bits_per_voxel)
    results = comparison.results
    with results.collecting():
        cases = FoundCases(partners, found.left_out)
        code = work_through(cases, comparison.work, "compare", folder)
    if results.rows:
        metric_options.show(results.rows)
    comparison.finish()
    metric_options.tell_results(folder)
    raise typer.Exit(code)
