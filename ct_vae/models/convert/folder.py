"""From files of others to a model folder, and from a model folder to files of others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import ConfigError, WeightsError
from ct_vae.io.atomic.file import write_together
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.convert.exporting import export_weights
from ct_vae.models.convert.foreign_files import read_foreign, texts_beside
from ct_vae.models.convert.importing import interpret
from ct_vae.models.convert.peer import Form
from ct_vae.models.convert.peers import PEERS
from ct_vae.models.convert.targets import export_targets
from ct_vae.models.convert.units import Range, carried, settle, texts, words
from ct_vae.models.inflate import Inflation, inflate, merge_image_channels
from ct_vae.models.model_folder import load_model_folder, save_model_folder
from ct_vae.models.weights import WEIGHTS, own_config, weights_bytes

_CARD = """# {name}

A converted autoencoder. It was not trained by ct_vae: its license and its training data are those
of where it comes from, and so are its limits.

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
    """A network on its way to a model folder.

    Attributes:
        model: The network.
        statements: What was read and assumed so far.
        form: Of the peer, or ``None`` if it comes from a model folder.
        preprocess: From HU to model units, of a model folder or an export of this package.
    """

    model: AutoencoderKL
    statements: tuple[str, ...]
    form: Form | None = None
    preprocess: PreprocessConfig | None = None


def open_origin(source: Path, config: Mapping[str, Any] | None) -> Origin:
    """Read a peer's weights, or a model folder of this package.

    Args:
        source: See `ct_vae.models.convert.foreign_files.read_foreign`.
        config: The peer's configuration, instead of the one beside the weights.

    Raises:
        WeightsError: If the weights are refused.
        ConfigError: If a model folder gets a second configuration.
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
    state, beside = read_foreign(source)
    told = carried(texts_beside(source), str(source))
    try:
        imported = interpret(state, config if config is not None else beside, told.scale)
    except WeightsError as error:
        raise WeightsError(f"{source}: {error.cause}", error.hint) from None
    return Origin(imported.model, imported.statements, imported.form, told.preprocess)


def is_own(source: Path) -> bool:
    """Whether a folder is a model folder of this package."""
    return (source / WEIGHTS).is_file() and own_config(source) is not None


def continuous(model: Any) -> AutoencoderKL:
    """The model, if it is one with a continuous latent.

    Raises:
        ConfigError: If it is not.
    """
    if not isinstance(model, AutoencoderKL):
        raise ConfigError(f"only continuous autoencoders are converted, not {type(model).__name__}")
    return model


def change(
    origin: Origin, how: Inflation | None, depth_stride: int, image_channels: int | None
) -> Origin:
    """Inflate, and merge image channels, where that is asked for.

    Raises:
        ConfigError: If the network does not allow it.
    """
    model, statements = origin.model, list(origin.statements)
    if image_channels is not None:
        statements.append(
            f"changed: {model.in_channels} image channels merged into one, which is given the gray "
            f"value; {model.out_channels} outputs averaged"
        )
        model = merge_image_channels(model, image_channels)
    if how is not None:
        step: Literal[1, 2] = 1 if depth_stride == 1 else 2
        model = inflate(model, how, step)
        statements.append(f"changed: {how} inflation from 2-D to 3-D, depth stride {step}")
    elif depth_stride != 1:
        raise ConfigError("a depth stride is of an inflation", "give --inflate averaged")
    return replace(origin, model=model, statements=tuple(statements))


def save_converted(
    folder: Path, origin: Origin, name: str, window_hu: Range | None, model_range: Range | None
) -> tuple[str, ...]:
    """Write a model folder.

    Args:
        folder: Made if missing.
        origin: What to write.
        name: Of the model.
        window_hu: HU that are represented; by default -1000 to 1000.
        model_range: What the network takes them as; known for all but MONAI.

    Returns:
        Everything that was read, changed and assumed.

    Raises:
        ConfigError: If nothing tells the range of the network's images.
        OutputError: If a file cannot be written.
    """
    preprocess, said = settle(origin.form, origin.preprocess, window_hu, model_range)
    model = origin.model.float()
    config = ModelFolderConfig(
        name=name,
        model=model.config,
        preprocess=preprocess,
        latent=LatentConfig(scaling_factor=model.scaling_factor),
    )
    statements = (*origin.statements, said)
    card = conversion_card(config, statements)
    save_model_folder(folder, model, config, card, {"conversion": json.dumps(statements)})
    return statements


def export_folder(source: Path, output: Path, form: Form) -> tuple[str, ...]:
    """Write a model folder's network as a peer keeps it, with the peer's configuration.

    Args:
        source: Model folder.
        output: A ``.safetensors`` file, beside which ``<stem>.json`` is written, or a folder.
        form: Of the peer.

    Returns:
        What the files do not say.

    Raises:
        WeightsError: If the source is no model folder.
        ConfigError: If the peer has no such network.
        OutputError: If a file cannot be written.
    """
    loaded = load_model_folder(source)
    state, config = export_weights(continuous(loaded.model), form)
    preprocess = loaded.config.preprocess
    text = json.dumps(config, indent=2) + "\n"
    metadata = texts(preprocess, loaded.model.scaling_factor)
    weights, settings = export_targets(output, form)
    write_together([(weights, weights_bytes(state, metadata)), (settings, text.encode())])
    return (
        f"the network takes HU {words(preprocess.window_hu)} as "
        f"{words(preprocess.model_range)}; {PEERS[form].title} has no place for that but the "
        "metadata of the weights file",
    )


def conversion_card(config: ModelFolderConfig, statements: Sequence[str]) -> str:
    """Write the card in Markdown.

    Args:
        config: The model's configuration.
        statements: What was read, changed and assumed.
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
