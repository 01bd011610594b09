"""Complete configuration of a training run."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from ct_vae.config.base import Section
from ct_vae.config.data import DataConfig
from ct_vae.config.inference import InferenceConfig
from ct_vae.config.loss import LOGIT_LOSSES
from ct_vae.config.model import ModelConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.config.training import TrainingConfig


class RunConfig(Section):
    """Configuration of a training run, read from one JSON file."""

    schema_: str | None = Field(default=None, alias="$schema")
    """Location of the JSON Schema, for editors."""

    notes: str | list[str] | None = None
    """Free text; ignored by the program."""

    model: ModelConfig = ModelConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        reg = self.training.reg_type
        if reg is not None and reg != self.model.reg_type:
            raise ValueError(
                f"training.reg_type {reg!r} contradicts model.latent_type "
                f"{self.model.latent_type!r}, which needs {self.model.reg_type!r}"
            )
        if self.model.in_channels != self.model.out_channels:
            raise ValueError(
                f"model.out_channels {self.model.out_channels} differ from model.in_channels "
                f"{self.model.in_channels}: a reconstruction is compared with its image"
            )
        self._check_patch()
        self._fill_output()
        self.training.check_units(self.preprocess, self.model.output_activation)
        self.training.check_patch(self.patch_size, self.discriminator_strides)
        self._check_start()
        self._check_latent()
        return self

    @property
    def patch_size(self) -> tuple[int, ...]:
        """Size of a training patch: as configured, or 64 rounded up to a multiple of the factor."""
        given = self.training.patch_size
        return given or tuple(-(-64 // f) * f for f in self.model.factor)

    @property
    def discriminator_strides(self) -> tuple[tuple[int, ...], ...]:
        """Strides of the discriminator's levels: those of the model, then 2."""
        levels = self.training.discriminator_levels
        halvings = ((2,) * self.model.spatial_dims,) * levels
        return (*self.model.level_strides, *halvings)[:levels]

    @property
    def image_size(self) -> tuple[int, ...]:
        """Size of a training image: that of a patch, or the resolution it is resized to."""
        if self.data.resize_to is None:
            return self.patch_size
        return (self.model.resolution,) * self.model.spatial_dims

    def _check_patch(self) -> None:
        patch, factor = self.patch_size, self.model.factor
        if len(patch) != self.model.spatial_dims:
            raise ValueError(
                f"training.patch_size {list(patch)} needs {self.model.spatial_dims} sides, "
                "as many as model.spatial_dims"
            )
        if any(side % f for side, f in zip(patch, factor, strict=True)):
            raise ValueError(
                f"training.patch_size {list(patch)} must be multiples of the model's factor "
                f"{list(factor)}"
            )

    def _fill_output(self) -> None:
        """Set the output activation that a reconstruction loss on logits needs."""
        kind, given = self.training.recon_type, self.model.output_activation
        if kind not in LOGIT_LOSSES:
            return
        if self.model.tanh_out or given == "identity":
            key = "tanh_out" if self.model.tanh_out else "output_activation 'identity'"
            raise ValueError(
                f"model.{key} contradicts training.recon_type {kind!r}, whose logits go through a "
                "sigmoid; leave it out"
            )
        # A frozen model takes no assignment; this is still its construction.
        self.__dict__["model"] = self.model.model_copy(update={"output_activation": "sigmoid"})

    def _check_start(self) -> None:
        if self.training.freeze is not None and self.model.ckpt_path is None:
            raise ValueError(
                f"training.freeze {self.training.freeze!r} needs model.ckpt_path: frozen "
                "weights must be loaded from a file"
            )
        if self.training.trunk_from is not None and self.model.ckpt_path is not None:
            raise ValueError(
                "training.trunk_from takes the blocks of a model and model.ckpt_path all of one: "
                "give one of them"
            )
        start, samples = self.training.adversarial_start_samples, self.training.samples
        if self.training.adversarial_weight > 0 and start >= samples:
            raise ValueError(
                f"training.adversarial_start_samples {start} comes after the {samples} samples of "
                "the run; lower it, or set adversarial_weight to 0"
            )

    def _check_latent(self) -> None:
        training, channels = self.training, self.model.latent_channels
        used = {
            "equivariance_weight": training.equivariance_weight > 0,
            "latent_noise": training.latent_noise > 0,
            "nested_channels": training.nested_channels is not None,
        }
        named = next((key for key, value in used.items() if value), None)
        if named is not None and self.model.latent_type != "kl":
            raise ValueError(
                f"training.{named} needs model.latent_type 'kl', got {self.model.latent_type!r}: "
                "changed latents are not codes"
            )
        nested = training.nested_channels or (channels,)
        if sorted(set(nested)) != list(nested) or nested[-1] != channels:
            raise ValueError(
                f"training.nested_channels {list(nested)} must increase, and end with the "
                f"{channels} channels of the latent"
            )
        sides = [n // f for n, f in zip(self.image_size, self.model.factor, strict=True)]
        if training.equivariance_weight > 0 and min(sides) < 2:
            raise ValueError(
                "training.equivariance_weight needs patches of at least 2 latent voxels along "
                f"each axis, patches of {list(self.image_size)} voxels have {sides}"
            )

    def as_json(self) -> dict[str, Any]:
        """Return every key with its value, as in a JSON file."""
        return self.model_dump(mode="json", by_alias=True, exclude={"schema_"})
