"""Metric options shared by ``evaluate`` and ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ct_vae.cli.option_groups import OptionGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from ct_vae.evaluation.metrics.metric_rows import MetricRow
    from ct_vae.evaluation.settings import Settings

OptionalInputs = Annotated[
    list[str],
    typer.Argument(help="Volumes: files, folders, or quoted glob patterns.", metavar="INPUT"),
]
Phantom = Annotated[
    bool, typer.Option("--phantom", help="Measure resolution, linearity and nodules on phantoms.")
]
Latent = Annotated[
    bool,
    typer.Option(
        "--latent",
        help="Measure the latents too: statistics, spectrum, correlation of channels, share of "
        "posterior noise, equivariance and differences between crops.",
    ),
]
Windows = Annotated[
    list[str],
    typer.Option("--window", help="CT window: a name or name:width/level in HU; may be repeated."),
]
Metrics = Annotated[
    str,
    typer.Option(
        help="Comma-separated metrics, or all: errors, ssim, ssim_axial, ms_ssim, gradient, "
        "linearity, tissue_bands, regions, texture, seams."
    ),
]
Protocol = Annotated[
    Literal["synthrad", "maisi", "openvae"] | None,
    typer.Option(
        help="Use the metrics of SynthRAD, MAISI or OpenVAE instead of --window and --metrics."
    ),
]
MaskFiles = Annotated[
    list[str],
    typer.Option(
        "--mask",
        help="Mask on the grid of the volume, or folder of masks named like the cases; may be "
        "repeated. Results are named mask_1, mask_2, ... or by the given name.",
        metavar="[NAME=]PATH",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="Label map, or folder of label maps named like the cases; one result per label."
    ),
]
ReconstructionLabels = Annotated[
    Path | None,
    typer.Option(
        help="Label map of the reconstruction, or folder of label maps: Dice, HD95, volume and "
        "mean HU of each label of --labels."
    ),
]
LabelNames = Annotated[Path | None, typer.Option(help="JSON or CSV file with label names.")]
WriteMasks = Annotated[bool, typer.Option("--write-masks", help="Write the masks as NIfTI files.")]
Datalist = Annotated[
    Path | None,
    typer.Option(
        help="CSV with columns image and patient, for confidence intervals over patients."
    ),
]
RateDistortion = Annotated[
    bool,
    typer.Option(
        "--rate-distortion",
        help="Measure RMSE over bits per voxel, with JPEG 2000, SPERR and HEVC for comparison.",
    ),
]
LpipsWeights = Annotated[
    Path | None,
    typer.Option(help="Local weights of VGG-16: adds the perceptual distance LPIPS."),
]
BitsPerVoxel = Annotated[
    float | None,
    typer.Option(min=1e-6, help="Size of the code of the reconstructions, for --rate-distortion."),
]
Panels = Annotated[bool, typer.Option(help="Write an image of each case.")]
Report = Annotated[bool, typer.Option(help="Write the HTML report.")]
Full = Annotated[bool, typer.Option("--full", help="Include all voxels in the report.")]


# Arguments of `ct_vae.evaluation.settings.build_settings`.
GROUP = OptionGroup(
    "measuring",
    {
        "windows": (Windows, []),
        "metrics": (Metrics, ""),
        "protocol": (Protocol, None),
        "masks": (MaskFiles, []),
        "labels": (Labels, None),
        "label_names": (LabelNames, None),
        "reconstruction_labels": (ReconstructionLabels, None),
        "write_masks": (WriteMasks, False),
        "datalist": (Datalist, None),
        "rate_distortion": (RateDistortion, False),
        "lpips_weights": (LpipsWeights, None),
        "panels": (Panels, True),
        "report": (Report, True),
        "full": (Full, False),
    },
    dict,
)
# Options above that apply to volumes read from files.
NAMES = (
    "windows",
    "metrics",
    "protocol",
    "masks",
    "labels",
    "label_names",
    "reconstruction_labels",
    "write_masks",
    "datalist",
    "rate_distortion",
    "lpips_weights",
    "full",
)


def tell_masks(settings: Settings) -> None:
    """Print the name of each mask; it is not written to files, because paths may identify."""
    from ct_vae.terminal import say

    for name, path in settings.given.masks:
        say(f"{path} is {name}")


def tell_results(folder: Path) -> None:
    """Print the paths of the table and the report, if they were written."""
    from ct_vae.terminal import say

    files = (folder / "metrics.csv", folder / "report.html")
    if written := [str(path) for path in files if path.exists()]:
        say(f"results: {', '.join(written)}")


def show(rows: Sequence[MetricRow]) -> None:
    """Print a table of the errors inside the first mask."""
    from rich.table import Table

    from ct_vae.console import SafeConsole
    from ct_vae.terminal import without_bars

    mask = rows[0].mask
    table = Table(title=_cell(f"Errors inside: {mask}"))
    for name in ("case", "what", "window", "range HU", "MAE HU", "RMSE HU", "bias HU", "PSNR dB"):
        table.add_column(name, justify="left" if name in ("case", "what", "window") else "right")
    for row in (r for r in rows if r.mask == mask):
        names = [_cell(text) for text in (row.case, row.what, row.window)]
        numbers = [_number(v, 1) for v in (row.mae, row.rmse, row.bias)]
        table.add_row(*names, f"{row.data_range:g}", *numbers, _number(row.psnr, 2))
    with without_bars():
        SafeConsole(width=None if SafeConsole().is_terminal else 110).print(table)


def _cell(text: str) -> Text:
    """Return a name as text that rich does not parse as markup."""
    from rich.text import Text

    from ct_vae.terminal import printable

    return Text(printable(text))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
