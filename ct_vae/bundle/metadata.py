"""``configs/metadata.json`` of a bundle: inputs, outputs and validation metrics."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ct_vae.config.model_folder import ModelFolderConfig
from ct_vae.models.autoencoder import Autoencoder

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
_PACKAGES = ("nibabel", "pydantic", "safetensors", "scipy", "einops", "SimpleITK", "pydicom")


@dataclass(frozen=True)
class Imprint:
    """Authors, copyright and version of a bundle.

    Attributes:
        authors: Authors of the model.
        copyright: Copyright holder of the model.
        version: Version of the bundle.
    """

    authors: str = "not stated"
    copyright: str = "not stated"
    version: str = "0.1.0"


def bundle_metadata(
    config: ModelFolderConfig,
    model: Autoencoder,
    measured: dict[str, float],
    imprint: Imprint | None = None,
) -> dict[str, Any]:
    """Return the metadata according to MONAI's schema of 2024-07-25.

    Args:
        config: Configuration of the model.
        model: Model of the bundle.
        measured: Validation metrics of the run; may be empty.
        imprint: Authors, copyright and version.
    """
    imprint = imprint or Imprint()
    factor = " x ".join(map(str, model.factor))
    latent = _tensor("latent", model.latent_channels, ["*"] * model.spatial_dims, _latent_range())
    image = _tensor("hounsfield", 1, [f"{f}*n" for f in model.factor], config.preprocess.window_hu)
    return {
        "schema": _SCHEMA,
        "version": imprint.version,
        "changelog": {imprint.version: "written by ct-vae bundle"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in ("ct_vae", *_PACKAGES)},
        "name": config.name,
        "task": "Compression of CT volumes to latents and reconstruction",
        "description": f"A {config.model.latent_type} autoencoder of CT in Hounsfield units, "
        f"{factor} voxels per latent voxel, {model.latent_channels} latent channel(s). "
        "Not for diagnosis.",
        "authors": imprint.authors,
        "copyright": imprint.copyright,
        "data_type": "nifti, dicom",
        "image_classes": "single-channel CT in Hounsfield units",
        "pred_classes": "the reconstructed CT in Hounsfield units",
        "eval_metrics": measured,
        "intended_use": "research on generative models of CT and on compression",
        "network_data_format": _way(image, image),
        "encoder_data_format": _way(image, latent),
        "decoder_data_format": _way(latent, image),
    }


def _way(given: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": {"image": given}, "outputs": {"pred": made}}


def _tensor(
    form: str, channels: int, sides: list[str], value_range: tuple[float, float]
) -> dict[str, Any]:
    return {
        "type": "image" if form == "hounsfield" else "feature",
        "format": form,
        "num_channels": channels,
        "spatial_shape": sides,
        "dtype": "float32",
        "value_range": list(value_range),
        "is_patch_data": False,
        "channel_def": {
            str(i): "CT" if form == "hounsfield" else "latent" for i in range(channels)
        },
    }


def _latent_range() -> tuple[float, float]:
    # With the KL loss, posterior means are of about unit size, but not bounded.
    return (-10.0, 10.0)
