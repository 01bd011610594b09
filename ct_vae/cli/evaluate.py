"""``ct-vae evaluate``: errors in HU, beside those of what needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ct_vae.cli import options
from ct_vae.cli.batch import find_cases, output_folder, work_through

if TYPE_CHECKING:
    from ct_vae.evaluation.metrics import MetricRow


def evaluate(  # noqa: PLR0913, PLR0917 - one parameter per option
    model: options.Model,
    inputs: options.Inputs,
    output: options.Output,
    windows: Annotated[
        list[str],
        typer.Option("--window", help="Window by name, or name:width/level; may be repeated."),
    ] = [],  # noqa: B006 - typer reads it as the default and never changes it
    panels: Annotated[bool, typer.Option(help="Write a picture for each case.")] = True,
    device: options.Device = None,
    tiling: options.TilingMethod = None,
    tile: options.Tile = None,
    overlap: options.Overlap = None,
    max_memory_gb: options.MaxMemory = None,
    verbose: options.Verbose = False,
    frame: options.Frame = None,
    nan: options.Nan = "refuse",
    hu_offset: options.HuOffset = 0.0,
    assume_ras: options.AssumeRas = False,
    force: options.Force = False,
    assume_hu: options.AssumeHu = False,
    resample_irregular: options.ResampleIrregular = False,
) -> None:
    """Encode, decode and measure volumes, inside the body and in clinical windows.

    Beside the reconstruction stand the constant that fits best, and cubic resampling with the same
    number of values as the latent. Cases are numbered in the results, so that no name gets out;
    the terminal shows which is which.
    """
    from ct_vae.evaluation.case import evaluate_case
    from ct_vae.evaluation.metrics import DEFAULT_WINDOWS
    from ct_vae.evaluation.panels import write_panel
    from ct_vae.evaluation.tables import clear_results, write_csv, write_summary
    from ct_vae.evaluation.windows import parse_window
    from ct_vae.io.discover import Case

    folder = output_folder(output)
    reading = options.read_options(
        frame, nan, hu_offset, assume_ras, force, assume_hu, resample_irregular
    )
    cases = find_cases(inputs, unique=False)
    chosen = [parse_window(text) for text in windows] or DEFAULT_WINDOWS
    codec = options.load_codec_with(
        model, device, tiling, tile, overlap, max_memory_gb, verbose=verbose
    )
    names = {case: f"case_{place:04d}" for place, case in enumerate(cases, start=1)}
    rows: list[MetricRow] = []
    clear_results(folder)

    def work(case: Case) -> str:
        name = names[case]
        result = evaluate_case(codec, case.read(reading), name, chosen)
        if panels:
            write_panel(result.original, result.reconstruction, folder / f"{name}.png", title=name)
        rows.extend(result.rows)
        write_csv(rows, folder / "metrics.csv")
        write_summary(rows, folder / "summary.json")
        return f"{case.path} is {name}: {result.compression:.3g} : 1 in {result.seconds:.1f} s"

    code = work_through(cases, work, "evaluate", folder)
    if rows:
        _show(rows)
    raise typer.Exit(code)


def _show(rows: list[MetricRow]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Errors inside the body")
    for name in ("case", "what", "window", "range HU", "MAE HU", "RMSE HU", "bias HU", "PSNR dB"):
        table.add_column(name, justify="left" if name in ("case", "what", "window") else "right")
    for row in (r for r in rows if r.mask == "body"):
        numbers = [_number(v, 1) for v in (row.mae, row.rmse, row.bias)]
        table.add_row(
            row.case, row.what, row.window, f"{row.data_range:g}", *numbers, _number(row.psnr, 2)
        )
    Console(width=None if Console().is_terminal else 110).print(table)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
