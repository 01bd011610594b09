"""``config.json`` of a model folder: all that is needed to use the weights beside it."""

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
    """What ``encode(normalize=True)`` multiplies by: one over the standard deviation."""

    mean: tuple[float, ...] | None = None
    """Mean of each channel; null until training has measured it."""

    std: tuple[float, ...] | None = None
    """Standard deviation of each channel; null until training has measured it."""

    samples: Annotated[int, Field(gt=0)] | None = None
    """Training patches over which they were measured."""


def _as_text(name: Any) -> Any:
    """Names of files, from which this one often comes, need not be text for Python."""
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
    """Check the JSON text of a model's configuration; ``where`` names it in messages.

    Raises:
        WeightsError: If it is damaged, or of a newer format.
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
