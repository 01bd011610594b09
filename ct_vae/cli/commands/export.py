"""``ct-vae export``: write a model as TorchScript, ONNX or exported program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ct_vae.cli import options
from ct_vae.terminal import show, show_json


def export(
    model: options.Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Output file.")],
    form: Annotated[
        Literal["torchscript", "onnx", "export"],
        typer.Option("--format", help="TorchScript, ONNX, or a torch.export program."),
    ],
    part: Annotated[
        Literal["reconstruct", "encode", "decode"],
        typer.Option(help="Part of the model to export."),
    ] = "reconstruct",
    model_units: Annotated[
        bool, typer.Option("--model-units", help="Use model units instead of HU for images.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
) -> None:
    """Export a model as a network that runs without this package.

    The network has one input and one output tensor and accepts any size that is a multiple of the
    downsampling factor. It is compared with the model; if they differ by more than 0.1 HU, nothing
    is written.

    Example: ct-vae export runs/kl_f4 -o network.onnx --format onnx
    """
    from ct_vae.bundle.network import load_part
    from ct_vae.bundle.onnx_torchscript import export as write
    from ct_vae.config.default_models import find_model
    from ct_vae.models.model_folder import load_model_folder

    loaded = load_model_folder(find_model(model))
    network = load_part(part, loaded, hounsfield=not model_units)
    parity = write(network, output, form)
    if as_json:
        show_json(parity.as_dict(), indent=None)
        return
    for sides, difference in zip(parity.sides, parity.largest_hu, strict=True):
        show(f"input {' x '.join(map(str, sides))}: off by at most {difference:.2g} HU")
    show(output)
