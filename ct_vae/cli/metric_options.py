"""Options about what is measured, shared by ``evaluate`` and ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from ct_vae.evaluation.metrics.metric_rows import MetricRow
    from ct_vae.evaluation.settings import Settings

OptionalInputs = Annotated[
    list[str],
    typer.Argument(help="Volumes: files, folders, or quoted glob patterns.", metavar="INPUT..."),
]
Phantom = Annotated[
    bool, typer.Option("--phantom", help="Measure resolution, linearity and nodules in phantoms.")
]
Windows = Annotated[
    list[str],
    typer.Option("--window", help="Window by name, or name:width/level; may be repeated."),
]
Metrics = Annotated[
    str,
    typer.Option(
        help="all, or names with commas: errors, ssim, ssim_axial, ms_ssim, gradient, linearity, "
        "tissue_bands, regions, texture, seams."
    ),
]
Protocol = Annotated[
    Literal["synthrad", "maisi"] | None,
    typer.Option(help="Measure as SynthRAD or MAISI do, instead of windows and metrics."),
]
MaskFiles = Annotated[
    list[str],
    typer.Option(
        "--mask",
        help="Mask on the same grid, or folder of masks by name of the case; may be repeated. "
        "Rows are named mask_1 and so on, or as name=path says.",
        metavar="[NAME=]PATH",
    ),
]
Labels = Annotated[
    Path | None, typer.Option(help="Label map, or folder of them by name: a row per label.")
]
LabelNames = Annotated[Path | None, typer.Option(help="JSON or CSV with the names of labels.")]
WriteMasks = Annotated[
    bool, typer.Option("--write-masks", help="Write the masks that were used as NIfTI.")
]
Datalist = Annotated[
    Path | None,
    typer.Option(help="Table with the columns image and patient: intervals are over patients."),
]
Panels = Annotated[bool, typer.Option(help="Write a picture for each case.")]
Report = Annotated[bool, typer.Option(help="Write report.html.")]
Full = Annotated[bool, typer.Option("--full", help="Put every voxel into the report.")]


# Names of the parameters above that are about volumes from files.
NAMES = (
    "windows",
    "metrics",
    "protocol",
    "masks",
    "labels",
    "label_names",
    "write_masks",
    "datalist",
    "full",
)


def tell_masks(settings: Settings) -> None:
    """Say which mask is which, on the terminal alone."""
    from ct_vae.terminal import say

    for name, path in settings.given.masks:
        say(f"{path} is {name}")


def show(rows: Sequence[MetricRow]) -> None:
    """Print errors inside the first mask of every case."""
    from rich.table import Table

    from ct_vae.terminal import SafeConsole

    mask = rows[0].mask
    table = Table(title=_cell(f"Errors inside: {mask}"))
    for name in ("case", "what", "window", "range HU", "MAE HU", "RMSE HU", "bias HU", "PSNR dB"):
        table.add_column(name, justify="left" if name in ("case", "what", "window") else "right")
    for row in (r for r in rows if r.mask == mask):
        names = [_cell(text) for text in (row.case, row.what, row.window)]
        numbers = [_number(v, 1) for v in (row.mae, row.rmse, row.bias)]
        table.add_row(*names, f"{row.data_range:g}", *numbers, _number(row.psnr, 2))
    SafeConsole(width=None if SafeConsole().is_terminal else 110).print(table)


def _cell(text: str) -> Text:
    """A name as it is, without what rich would take for markup."""
    from rich.text import Text

    from ct_vae.terminal import printable

    return Text(printable(text))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
