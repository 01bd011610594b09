"""``config.json`` of a model folder: everything needed to use its weights."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from ct_vae.config.base import Section
from ct_vae.config.inference import InferenceConfig
from ct_vae.config.load import describe
from ct_vae.config.model import ModelConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import WeightsError

MODEL_FORMAT: Literal["ct_vae.model"] = "ct_vae.model"
MODEL_VERSION: Literal[1] = 1


class LatentConfig(Section):
    """Statistics of the latent over the training data, before any scaling."""

    scaling_factor: Annotated[float, Field(gt=0)]
    """Factor applied by ``encode(normalize=True)``: the inverse of the standard deviation."""

    shift_factor: float = 0.0
    """Value subtracted by ``encode(normalize=True)`` before scaling, as in Stable Diffusion 3."""

    mean: tuple[float, ...] | None = None
    """Mean of each channel; null before it has been measured in training."""

    std: tuple[float, ...] | None = None
    """Standard deviation of each channel; null before it has been measured in training."""

    samples: Annotated[int, Field(gt=0)] | None = None
    """Number of training patches used for the statistics."""


def _as_text(name: Any) -> Any:
    """Replace bytes that are not UTF-8; the name often comes from the name of a file."""
    if not isinstance(name, str):
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class ModelFolderConfig(Section):
    """Architecture, preprocessing and latent statistics of trained weights."""

    format: Literal["ct_vae.model"] = MODEL_FORMAT
    format_version: Literal[1] = MODEL_VERSION
    name: Annotated[str, BeforeValidator(_as_text)]
    model: ModelConfig
    preprocess: PreprocessConfig
    inference: InferenceConfig = InferenceConfig()
    latent: LatentConfig
    samples_seen: Annotated[int, Field(ge=0)] | None = None


def parse_model_folder(text: str, where: str) -> ModelFolderConfig:
    """Validate the JSON text of a model configuration.

    Args:
        text: Content of ``config.json``.
        where: Name of the file in error messages.

    Raises:
        WeightsError: If the configuration is invalid or of a newer format version.
    """
    try:
        return ModelFolderConfig.model_validate_json(text)
    except ValidationError as error:
        newer = [e for e in error.errors() if e["loc"] == ("format_version",)]
        if newer:
            raise _newer(newer[0]["input"], where) from None
        raise WeightsError(describe(error, ModelFolderConfig, where)) from None


def _newer(version: Any, where: str) -> WeightsError:
    return WeightsError(
        f"{where}: format version {version}, this installation reads {MODEL_VERSION}",
        "install a newer ct_vae",
    )
