"""Conversion between files of other formats and model folders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.convert_weights.checkpoint_format import Form
from ct_vae.convert_weights.checkpoint_formats import FORMATS
from ct_vae.convert_weights.exporting import export_weights
from ct_vae.convert_weights.foreign_files import embedded_metadata, read_foreign
from ct_vae.convert_weights.importing import interpret
from ct_vae.convert_weights.targets import export_targets
from ct_vae.convert_weights.units import Range, export_metadata, read_embedded, settle, words
from ct_vae.errors import ConfigError, WeightsError
from ct_vae.io.atomic.file import write_together
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.inflate import Inflation, inflate, merge_image_channels
from ct_vae.models.model_folder import load_model_folder, save_model_folder
from ct_vae.models.weights import WEIGHTS, own_config, weights_bytes

_CARD = """# {name}

A converted autoencoder, which was not trained with ct_vae: its license, training data and limits
are those of its source.

## Use
Encodes CT in Hounsfield units to a latent and decodes it. Reconstructions are lossy and derived:
**not for diagnosis**. Measure it on your own CT (`ct-vae evaluate`) before you rely on it.

## Architecture
- {factor} voxels per latent voxel, {channels} latent channels: {compression:.3g} : 1 in numbers
- HU {low:g} to {high:g} are represented as {bottom:g} to {top:g}; values outside are clipped

## Conversion
{statements}
## Latent
- scaling factor {scaling:.6g}; mean and standard deviation per channel are not measured
"""


@dataclass(frozen=True, eq=False)
class Origin:
    """Network to be written to a model folder.

    Attributes:
        model: Autoencoder.
        statements: Facts and assumptions so far.
        form: Source format, or ``None`` for a model folder.
        preprocess: Preprocessing of a model folder or of an export of this package; optional.
    """

    model: AutoencoderKL
    statements: tuple[str, ...]
    form: Form | None = None
    preprocess: PreprocessConfig | None = None


def open_origin(source: Path, config: Mapping[str, Any] | None) -> Origin:
    """Read weights of another format, or a model folder of this package.

    Args:
        source: Path, see `ct_vae.convert_weights.foreign_files.read_foreign`.
        config: Configuration of the source format, instead of the one next to the weights;
            optional.

    Raises:
        WeightsError: If the weights cannot be converted.
        ConfigError: If a configuration is given for a model folder.
    """
    if is_own(source):
        if config is not None:
            raise ConfigError(f"{source}: a model folder has its own configuration")
        loaded = load_model_folder(source)
        return Origin(
            continuous(loaded.model),
            (f"origin: model {loaded.config.name!r} ({loaded.sha256[:12]})",),
            preprocess=loaded.config.preprocess,
        )
    state, stored = read_foreign(source)
    embedded = read_embedded(embedded_metadata(source), str(source))
    try:
        imported = interpret(state, config if config is not None else stored, embedded.scale)
    except WeightsError as error:
        raise WeightsError(f"{source}: {error.cause}", error.hint) from None
    return Origin(imported.model, imported.statements, imported.form, embedded.preprocess)


def is_own(source: Path) -> bool:
    """Return true if a folder is a model folder of this package."""
    return (source / WEIGHTS).is_file() and own_config(source) is not None


def continuous(model: Any) -> AutoencoderKL:
    """Return the model if it has a continuous latent.

    Raises:
        ConfigError: If it has codes.
    """
    if not isinstance(model, AutoencoderKL):
        raise ConfigError(
            f"only continuous autoencoders can be converted, not {type(model).__name__}"
        )
    return model


def change(
    origin: Origin, how: Inflation | None, depth_stride: int, image_channels: int | None
) -> Origin:
    """Inflate the network and merge its image channels, if requested.

    Raises:
        ConfigError: If the network does not allow it.
    """
    model, statements = origin.model, list(origin.statements)
    if image_channels is not None:
        statements.append(
            f"changed: {model.in_channels} image channels merged into one for the gray value, "
            f"{model.out_channels} outputs averaged"
        )
        model = merge_image_channels(model, image_channels)
    if how is not None:
        step: Literal[1, 2] = 1 if depth_stride == 1 else 2
        model = inflate(model, how, step)
        statements.append(f"changed: {how} inflation from 2-D to 3-D, depth stride {step}")
    elif depth_stride != 1:
        raise ConfigError("a depth stride needs an inflation", "give --inflate averaged")
    return replace(origin, model=model, statements=tuple(statements))


def save_converted(
    folder: Path, origin: Origin, name: str, window_hu: Range | None, model_range: Range | None
) -> tuple[str, ...]:
    """Write a model folder.

    Args:
        folder: Folder, created if missing.
        origin: Network to write.
        name: Name of the model.
        window_hu: HU that the model represents; defaults to -1000 to 1000.
        model_range: Model units of the ends of the window; known for all formats but MONAI.

    Returns:
        All facts and assumptions of the conversion.

    Raises:
        ConfigError: If the range of the network's images is unknown.
        OutputError: If a file cannot be written.
    """
    preprocess, said = settle(origin.form, origin.preprocess, window_hu, model_range)
    model = origin.model.float()
    config = ModelFolderConfig(
        name=name,
        model=model.config,
        preprocess=preprocess,
        latent=LatentConfig(scaling_factor=model.scaling_factor, shift_factor=model.shift_factor),
    )
    statements = (*origin.statements, said)
    card = conversion_card(config, statements)
    save_model_folder(folder, model, config, card, {"conversion": json.dumps(statements)})
    return statements


def export_folder(source: Path, output: Path, form: Form) -> tuple[str, ...]:
    """Export the network of a model folder to another format, with its configuration.

    Args:
        source: Model folder.
        output: ``.safetensors`` file, next to which ``<stem>.json`` is written, or a folder.
        form: Target format.

    Returns:
        Facts that the format cannot store.

    Raises:
        WeightsError: If the source is not a model folder.
        ConfigError: If the format has no such network.
        OutputError: If a file cannot be written.
    """
    loaded = load_model_folder(source)
    state, config = export_weights(continuous(loaded.model), form)
    preprocess = loaded.config.preprocess
    text = json.dumps(config, indent=2) + "\n"
    metadata = export_metadata(preprocess, loaded.model.scaling_factor)
    weights, settings = export_targets(output, form)
    write_together([(weights, weights_bytes(state, metadata)), (settings, text.encode())])
    shift = loaded.model.shift_factor
    lost = f"the latent shift {shift:g} is not stored by {FORMATS[form].title}"
    return (
        *((lost,) if shift and form != "diffusers" else ()),
        f"the network takes HU {words(preprocess.window_hu)} as "
        f"{words(preprocess.model_range)}; {FORMATS[form].title} stores this only in the metadata "
        "of the weights file",
    )


def conversion_card(config: ModelFolderConfig, statements: Sequence[str]) -> str:
    """Return the model card in Markdown.

    Args:
        config: Configuration of the model.
        statements: Facts and assumptions of the conversion.
    """
    model, preprocess = config.model, config.preprocess
    return _CARD.format(
        name=config.name,
        factor=" x ".join(map(str, model.factor)),
        channels=model.latent_channels,
        compression=model.compression,
        low=preprocess.window_hu[0],
        high=preprocess.window_hu[1],
        bottom=preprocess.model_range[0],
        top=preprocess.model_range[1],
        statements="".join(f"- {line}\n" for line in statements),
        scaling=config.latent.scaling_factor,
    )
