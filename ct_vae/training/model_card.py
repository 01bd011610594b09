"""The card that lies beside a trained model."""

from __future__ import annotations

from collections.abc import Mapping

from ct_vae.config.model_folder import ModelFolderConfig

_TEMPLATE = """# {name}

A volumetric autoencoder for CT, trained with ct_vae.

## Use
Encodes CT in Hounsfield units to a latent volume and decodes it. Reconstructions are lossy and
derived: **not for diagnosis**.

## Architecture
- {factor} voxels per latent voxel, {channels} latent channels: {compression:.3g} : 1 in numbers
- {parameters:,} parameters
- HU {low:g} to {high:g} are represented; values outside are clipped

## Training
- {samples} patches seen
- {train_cases} training cases, {val_cases} validation cases
{metrics}
## Latent
- scaling factor {scaling:.6g}
- mean per channel: {mean}
- standard deviation per channel: {std}
"""


def model_card(
    config: ModelFolderConfig,
    parameters: int,
    cases: tuple[int, int],
    metrics: Mapping[str, float],
) -> str:
    """Write the card in Markdown.

    Args:
        config: The model's configuration.
        parameters: Number of its parameters.
        cases: How many cases were trained on and validated on.
        metrics: Validation metrics by name, with units in the names.
    """
    factor = config.model.factor
    latent = config.latent
    return _TEMPLATE.format(
        name=config.name,
        factor=" x ".join(map(str, factor)),
        channels=config.model.latent_channels,
        compression=config.model.compression,
        parameters=parameters,
        low=config.preprocess.window_hu[0],
        high=config.preprocess.window_hu[1],
        samples=config.samples_seen,
        train_cases=cases[0],
        val_cases=cases[1],
        metrics="".join(f"- {name}: {value:.4g}\n" for name, value in metrics.items()),
        scaling=latent.scaling_factor,
        mean=_numbers(latent.mean),
        std=_numbers(latent.std),
    )


def _numbers(values: tuple[float, ...] | None) -> str:
    return "not measured" if values is None else ", ".join(f"{v:.4g}" for v in values)
