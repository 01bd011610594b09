"""Options about what is measured, shared by ``evaluate`` and ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ct_vae.evaluation.given_masks import GivenMasks
    from ct_vae.evaluation.measure import Plan
    from ct_vae.evaluation.metrics import MetricRow
    from ct_vae.evaluation.patients import Patients
    from ct_vae.evaluation.results import Settings

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


def plan_of(windows: Sequence[str], metrics: str, protocol: str | None) -> tuple[Plan, str, str]:
    """The plan, which masks are found, and the protocol in words.

    Raises:
        ConfigError: If a name is not known, or a protocol is given together with windows or
            metrics.
    """
    from ct_vae.errors import ConfigError
    from ct_vae.evaluation.measure import DEFAULT_METRICS, METRICS, Plan
    from ct_vae.evaluation.protocols import PROTOCOLS
    from ct_vae.evaluation.windows import parse_window

    if protocol is not None:
        if windows or metrics:
            raise ConfigError(
                f"--protocol {protocol} has windows and metrics of its own",
                "leave --window and --metrics out",
            )
        known = PROTOCOLS[protocol]
        return known.plan, known.masking, known.about
    names = [name.strip() for name in metrics.split(",") if name.strip()] or list(DEFAULT_METRICS)
    chosen = METRICS if names == ["all"] else tuple(names)
    unknown = [name for name in chosen if name not in METRICS]
    if unknown:
        raise ConfigError(
            f"--metrics {', '.join(unknown)}: not known", f"there are all, {', '.join(METRICS)}"
        )
    if not windows:
        return Plan(metrics=chosen), "clinical", ""
    own = tuple(dict.fromkeys(parse_window(text) for text in windows))
    return Plan(own, own, chosen), "clinical", ""


def settings_of(
    planned: tuple[Plan, str, str],
    given: GivenMasks,
    *,
    panels: bool,
    report: bool,
    full: bool,
    keep_masks: bool,
) -> Settings:
    """Everything about measuring and writing, bundled."""
    from typing import cast

    from ct_vae.evaluation.protocols import Masking
    from ct_vae.evaluation.results import Settings

    plan, masking, about = planned
    return Settings(
        plan,
        cast("Masking", masking),
        given,
        about,
        panels=panels,
        report=report,
        full=full,
        keep_masks=keep_masks,
    )


def given_masks(
    masks: Sequence[str], labels: Path | None, names: Path | None, cases: int
) -> GivenMasks:
    """Masks from files, looked for before any work; the terminal shows which is which.

    Raises:
        ConfigError: If names come without labels, one file would serve several cases, or two
            masks would have one name.
        NoInputError: If a path does not exist.
    """
    from ct_vae.cli.batch import tell
    from ct_vae.errors import ConfigError
    from ct_vae.evaluation.given_masks import GivenMasks, name_masks, read_label_names

    if names is not None and labels is None:
        raise ConfigError("--label-names needs labels", "give --labels as well")
    named = name_masks(masks)
    given = GivenMasks(named, labels, read_label_names(names) if names else ())
    given.check(cases)
    for name, path in named:
        tell(f"{path} is {name}")
    return given


def patients_of(datalist: Path | None) -> Patients:
    """Patients by volume; empty without a list."""
    from ct_vae.evaluation.patients import read_patients

    return read_patients(datalist) if datalist else {}


def show(rows: Sequence[MetricRow]) -> None:
    """Print errors inside the first mask of every case."""
    from rich.console import Console
    from rich.table import Table

    mask = rows[0].mask
    table = Table(title=f"Errors inside: {mask}")
    for name in ("case", "what", "window", "range HU", "MAE HU", "RMSE HU", "bias HU", "PSNR dB"):
        table.add_column(name, justify="left" if name in ("case", "what", "window") else "right")
    for row in (r for r in rows if r.mask == mask):
        numbers = [_number(v, 1) for v in (row.mae, row.rmse, row.bias)]
        table.add_row(
            row.case, row.what, row.window, f"{row.data_range:g}", *numbers, _number(row.psnr, 2)
        )
    Console(width=None if Console().is_terminal else 110).print(table)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
