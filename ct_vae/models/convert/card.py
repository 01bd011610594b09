"""The card that lies beside a converted model."""

from __future__ import annotations

from collections.abc import Sequence

from ct_vae.config.model_folder import ModelFolderConfig

_TEMPLATE = """# {name}

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


def conversion_card(config: ModelFolderConfig, statements: Sequence[str]) -> str:
    """Write the card in Markdown.

    Args:
        config: The model's configuration.
        statements: What was read, changed and assumed.
    """
    model, preprocess = config.model, config.preprocess
    return _TEMPLATE.format(
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
