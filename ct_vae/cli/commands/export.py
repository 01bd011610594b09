"""``ct-vae export``: a model in a format that runs without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ct_vae.cli import options
from ct_vae.terminal import show, show_json


def export(
    model: options.Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    form: Annotated[
        Literal["torchscript", "onnx", "export"],
        typer.Option("--format", help="TorchScript, ONNX, or a program of torch.export."),
    ],
    part: Annotated[
        Literal["reconstruct", "encode", "decode"], typer.Option(help="Which way it goes.")
    ] = "reconstruct",
    model_units: Annotated[
        bool, typer.Option("--model-units", help="Images in model units instead of HU.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the agreement as JSON.")] = False,
) -> None:
    """Write a network of one tensor in and one out, and compare it with the model in HU.

    It takes any sides that are multiples of the factor. Nothing is written when it is off by more
    than 0.1 HU.
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
