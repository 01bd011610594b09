"""``ct-vae show``: a page with a viewer for a CT, its latent and its reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ct_vae.cli import options
from ct_vae.cli.option_groups import with_groups
from ct_vae.terminal import say

if TYPE_CHECKING:
    from ct_vae.evaluation.report.show_page import ShownCase
    from ct_vae.io import ReadOptions

_ENDINGS = (".html", ".htm")


@with_groups(options.READING_GROUP)
def show(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="CT, latent, or both, and optionally a reconstruction of the CT.",
            metavar="FILE [LATENT] [RECONSTRUCTION]",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Page to write, as .html.")],
    *,
    title: Annotated[
        str, typer.Option(help="Title of the page; must not identify the patient.")
    ] = "CT",
    reading: ReadOptions,
) -> None:
    """Write a page that shows a CT with its latent and its reconstruction, in any browser.

    The page needs no network and contains no names. Latents are drawn at their position in the CT.
    Files are recognized by their content: of two volumes, the decoded or the second
    one is the reconstruction.

    Example: ct-vae show case.nii.gz case_latent.nii.gz case_decoded.nii.gz -o case.html
    """
    from ct_vae.errors import ConfigError
    from ct_vae.evaluation.report.show_page import write_show_page

    if output.suffix.lower() not in _ENDINGS:
        raise ConfigError(f"-o {output} is not an HTML file", "give a name such as page.html")
    case = _read(files, reading)
    write_show_page(case, output, title=title)
    say(f"{output}: {', '.join(case.views)}")


def _read(files: Sequence[Path], reading: ReadOptions) -> ShownCase:
    """Read the files and find out which one is what.

    Raises:
        ConfigError: If there are two latents or three volumes.
    """
    from ct_vae.errors import ConfigError
    from ct_vae.evaluation.report.show_page import ShownCase
    from ct_vae.io import read_latent, read_volume
    from ct_vae.io.formats import path_kind
    from ct_vae.io.latent.record import latent_of_record

    kinds = [path_kind(file) for file in files]
    latents = [
        latent_of_record(file) if kind == "record" else file
        for file, kind in zip(files, kinds, strict=True)
        if kind in {"latent", "record"}
    ]
    volumes = [
        file for file, kind in zip(files, kinds, strict=True) if kind not in {"latent", "record"}
    ]
    if len(latents) > 1 or len(volumes) > 2:
        raise ConfigError(
            f"got {len(volumes)} volumes and {len(latents)} latents",
            "give at most a CT, its latent and its reconstruction",
        )
    # A decoded volume is the reconstruction, even if it comes first.
    read = sorted((read_volume(volume, reading) for volume in volumes), key=lambda v: v.derived)
    latent = read_latent(latents[0]) if latents else None
    return ShownCase(read[0] if read else None, latent, read[1] if len(read) > 1 else None)
