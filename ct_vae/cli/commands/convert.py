"""``ct-vae convert``: import weights of other projects, or export to their formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ct_vae.terminal import say, show

Range = tuple[float, float]


def convert(  # noqa: PLR0913, PLR0917 - one parameter per option
    source: Annotated[
        Path,
        typer.Argument(help="Weights file, diffusers folder, or model folder.", metavar="SOURCE"),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Model folder to write; with --to, a folder or .safetensors."
        ),
    ],
    to: Annotated[
        Literal["compvis", "diffusers", "monai", "maisi"] | None,
        typer.Option(help="Export a model folder to this format."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Configuration (JSON or YAML) of the source model.")
    ] = None,
    inflate: Annotated[
        Literal["central", "averaged"] | None,
        typer.Option(help="Inflate a 2-D network to 3-D: central slice, or average of three."),
    ] = None,
    depth_stride: Annotated[
        int,
        typer.Option(min=1, max=2, help="Stride along the new axis; 2 needs --inflate averaged."),
    ] = 1,
    image_channels: Annotated[
        int | None, typer.Option(min=1, max=1, help="Merge the image channels into one.")
    ] = None,
    window_hu: Annotated[Range | None, typer.Option(help="HU range of the model input.")] = None,
    model_range: Annotated[
        Range | None, typer.Option(help="Range of the model input that --window-hu maps to.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Model name; defaults to that of the folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Convert weights of CompVis, diffusers, MONAI or MAISI to a model folder, or back with --to.

    Example: ct-vae convert autoencoder.pt --config maisi.json -o models/maisi
    """
    from ct_vae.convert_weights import folder, targets
    from ct_vae.convert_weights.foreign_files import read_settings
    from ct_vae.errors import ConfigError
    from ct_vae.io.walk import real_path

    changing = inflate is not None or image_channels is not None or depth_stride != 1
    if to is not None:
        if changing or config or window_hu or model_range or name:
            raise ConfigError(
                "--to can be used with SOURCE, -o and --overwrite only",
                "leave out the other options",
            )
        files = targets.export_targets(output, to)
        targets.refuse_own(files)
        targets.refuse_present(files, overwrite)
        _tell(folder.export_folder(source, output, to))
        show(output)
        return
    files = targets.model_targets(output)
    targets.refuse_source(files, source)
    targets.refuse_present(files, overwrite)
    if folder.is_own(source) and not changing:
        raise ConfigError(f"{source} is a model folder already", "give --to, or --inflate")
    origin = folder.open_origin(source, None if config is None else read_settings(config))
    origin = folder.change(origin, inflate, depth_stride, image_channels)
    called = name or real_path(output).name
    _tell(folder.save_converted(output, origin, called, window_hu, model_range))
    show(output)


def _tell(statements: tuple[str, ...]) -> None:
    for line in statements:
        say(line)
