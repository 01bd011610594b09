"""What training minimises: loss keys of section ``training``."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ct_vae.config.architecture import factors_of
from ct_vae.config.base import Section
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.config.windows import Window, parse_window
from ct_vae.errors import ConfigError

NotNegative = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]
Samples = Annotated[int, Field(ge=0)]
ReconType = Literal["l1", "mse", "charbonnier", "bce", "bce_focal"]
AdversarialLoss = Literal["hinge", "least_squares", "non_saturating"]
# Reconstruction losses that compare logits with shares.
LOGIT_LOSSES = ("bce", "bce_focal")
# The perceptual network halves the sides of a slice four times.
SHORTEST_SLICE = 16


class ObjectiveConfig(Section):
    """Losses and their weights; a term of weight 0 is not computed."""

    recon_type: ReconType = "l1"
    """Reconstruction loss, a mean over voxels in model units; `bce` and `bce_focal` are for a
    `model_range` of [0, 1]."""

    focal_gamma: NotNegative = 2.0
    """How much less `bce_focal` heeds voxels that are nearly right; 0 makes it `bce`."""

    charbonnier_eps: Annotated[float, Field(gt=0)] = 1e-3
    """Error in model units below which `charbonnier` is about quadratic, above it about linear."""

    window_weights: dict[str, NotNegative] = Field(default_factory=dict)
    """Weights of errors within HU windows by name, such as ``{"lung": 0.5, "kidney:300/80": 1}``.
    """

    gradient_weight: NotNegative = 0.0
    """Weight of the mean error of differences between neighbouring voxels."""

    kl_weight: NotNegative = 1e-4
    """Weight of the KL term; ignored with codes."""

    kl_reduction: Literal["mean", "sum"] = "mean"
    """Mean per latent element, or sum over the elements of a sample, for weights of others."""

    kl_anneal_samples: Samples = 0
    """Samples over which the weight of the KL term rises from zero."""

    commitment_weight: NotNegative = 0.25
    """Weight of the distance between latents and their codes; ignored by `kl`."""

    entropy_weight: NotNegative = 0.1
    """Weight of the entropy term of a lookup-free quantiser; ignored by all others."""

    perceptual_weight: NotNegative = 0.0
    """Weight of the distance between features of slices; needs `perceptual_weights_path`."""

    perceptual_weights_path: str | None = None
    """Local file with the convolutions of VGG-16, safetensors or a PyTorch state dict; linear
    layers of LPIPS are used where the file holds them."""

    perceptual_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the slices along each axis that the perceptual term sees."""

    adversarial_weight: NotNegative = 0.0
    """Weight of the term that a discriminator gives; 0 means that there is none."""

    adversarial_loss: AdversarialLoss = "hinge"
    """Game that the discriminator plays."""

    adversarial_start_samples: Samples = 15_000
    """Samples before the discriminator begins, best a tenth to a fifth of the run."""

    adversarial_ramp_samples: Samples = 5_000
    """Samples after the start over which the generator's terms rise from zero."""

    adversarial_adaptive: bool = True
    """Whether the weight is multiplied by the ratio of the gradients of reconstruction and
    adversary at the last layer."""

    adversarial_adaptive_limit: Annotated[float, Field(gt=0)] = 10.0
    """Largest ratio."""

    feature_matching_weight: NotNegative = 0.0
    """Weight of the mean difference of the discriminator's features."""

    r1_weight: NotNegative = 0.0
    """Cost of the discriminator's slope at real images."""

    r1_every: PositiveInt = 16
    """Steps of the discriminator from one look at its slope to the next, which weighs as much."""

    lecam_weight: NotNegative = 0.0
    """Weight that keeps verdicts near their moving averages."""

    discriminator_ch: PositiveInt = 64
    """Channels of the discriminator's first convolution."""

    discriminator_levels: PositiveInt = 3
    """Halvings of the discriminator."""

    discriminator_norm: Literal["group", "instance"] = "group"
    """Normalisation of the discriminator."""

    @property
    def windows(self) -> dict[Window, float]:
        """Weights of the windows that have one above 0."""
        return {parse_window(text): w for text, w in self.window_weights.items() if w > 0}

    def check_units(self, preprocess: PreprocessConfig, output_activation: str | None) -> None:
        """Refuse losses that have nothing to say in the model's units.

        Raises:
            ValueError: If shares are asked of another range, or for a window that is clipped away.
        """
        on_logits = self.recon_type in LOGIT_LOSSES
        low, high = preprocess.model_range
        if (on_logits or output_activation == "sigmoid") and (low, high) != (0.0, 1.0):
            cause = f"training.recon_type {self.recon_type!r}"
            raise ValueError(
                f"{cause if on_logits else 'model.output_activation sigmoid'} needs a "
                f"preprocess.model_range of [0, 1], got [{low:g}, {high:g}]"
            )
        bottom, top = preprocess.window_hu
        for window in self.windows:
            if window.high <= bottom or window.low >= top:
                raise ValueError(
                    f"training.window_weights: window {window.name!r} is [{window.low:g}, "
                    f"{window.high:g}] HU, all of it clipped by preprocess.window_hu "
                    f"[{bottom:g}, {top:g}]"
                )

    def check_patch(self, patch: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> None:
        """Refuse networks that a training patch is too small for.

        Args:
            patch: Its sides.
            strides: Of the discriminator's levels, for each axis.

        Raises:
            ValueError: With the sides that are needed.
        """
        if self.perceptual_weight > 0 and (len(patch) < 2 or min(patch) < SHORTEST_SLICE):
            raise ValueError(
                f"training.perceptual_weight needs slices of at least {SHORTEST_SLICE} x "
                f"{SHORTEST_SLICE} voxels, a patch of {list(patch)} has smaller ones"
            )
        least = factors_of(strides, (1,) * len(patch))[-1]
        left = prod(side // total for side, total in zip(patch, least, strict=True))
        if self.adversarial_weight > 0 and left < 2:
            raise ValueError(
                f"training.discriminator_levels {self.discriminator_levels} need patches of at "
                f"least {list(least)} voxels and more along one axis, got {list(patch)}"
            )

    @field_validator("focal_gamma")
    @classmethod
    def _check_gamma(cls, gamma: float) -> float:
        if 0 < gamma < 1:
            raise ValueError(f"focal_gamma is 0 or at least 1, got {gamma}: its slope has no bound")
        return gamma

    @field_validator("window_weights")
    @classmethod
    def _check_windows(cls, weights: dict[str, float]) -> dict[str, float]:
        try:
            names = [parse_window(text).name for text in weights]
        except ConfigError as error:
            raise ValueError(str(error)) from None
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"window {double[0]!r} stands twice")
        return weights

    @model_validator(mode="after")
    def _check_perceptual(self) -> ObjectiveConfig:
        if self.perceptual_weight > 0 and self.perceptual_weights_path is None:
            raise ValueError(
                f"perceptual_weight {self.perceptual_weight} needs perceptual_weights_path, a "
                "local file: nothing is downloaded; or set the weight to 0"
            )
        return self
