"""``ct-vae convert``: other people's weights in, ours out."""

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
        typer.Option("--output", "-o", help="Model folder; with --to a folder or .safetensors."),
    ],
    to: Annotated[
        Literal["compvis", "diffusers", "monai", "maisi"] | None,
        typer.Option(help="Export a model folder to this form."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The peer's own configuration, a JSON file.")
    ] = None,
    inflate: Annotated[
        Literal["central", "averaged"] | None,
        typer.Option(help="Make a 2-D network 3-D: every slice alone, or three averaged."),
    ] = None,
    depth_stride: Annotated[
        int, typer.Option(min=1, max=2, help="Step along the new axis; 2 with averaged only.")
    ] = 1,
    image_channels: Annotated[
        int | None, typer.Option(min=1, max=1, help="Merge the image channels into one.")
    ] = None,
    window_hu: Annotated[Range | None, typer.Option(help="HU that are represented.")] = None,
    model_range: Annotated[
        Range | None, typer.Option(help="What the network takes these HU as.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the model; that of the folder.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
) -> None:
    """Turn weights of CompVis, diffusers, MONAI or MAISI into a model folder, or back with --to."""
    from ct_vae.config.load import read_json
    from ct_vae.errors import ConfigError
    from ct_vae.io.search.walk import real_path
    from ct_vae.models.convert import folder, targets

    changing = inflate is not None or image_channels is not None or depth_stride != 1
    if to is not None:
        if changing or config or window_hu or model_range or name:
            raise ConfigError(
                "--to goes with SOURCE, -o and --overwrite only", "leave the rest out"
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
    origin = folder.open_origin(source, None if config is None else read_json(config))
    origin = folder.change(origin, inflate, depth_stride, image_channels)
    called = name or real_path(output).name
    _tell(folder.save_converted(output, origin, called, window_hu, model_range))
    show(output)


def _tell(statements: tuple[str, ...]) -> None:
    for line in statements:
        say(line)
