"""Losses and their weights: a part of section ``training``."""

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
# Reconstruction losses on logits, for targets in [0, 1].
LOGIT_LOSSES = ("bce", "bce_focal")
# The perceptual network halves the sides of a slice four times.
SHORTEST_SLICE = 16


class ObjectiveConfig(Section):
    """Losses and their weights; a loss with weight 0 is not computed."""

    recon_type: ReconType = "l1"
    """Reconstruction loss, averaged over voxels in model units; `bce` and `bce_focal` need a
    `preprocess.model_range` of [0, 1]."""

    focal_gamma: NotNegative = 2.0
    """Focusing parameter of `bce_focal`: larger values down-weight voxels that are already well
    reconstructed; 0 is the same as `bce`."""

    charbonnier_eps: Annotated[float, Field(gt=0)] = 1e-3
    """Error, in model units, at which `charbonnier` changes from about quadratic to about
    linear."""

    window_weights: dict[str, NotNegative] = Field(default_factory=dict)
    """Weights of additional reconstruction losses inside HU windows, by name or name:width/level,
    such as `{"lung": 0.5, "kidney:300/80": 1}`."""

    face_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of voxels next to faces of latent voxels in the reconstruction losses, relative to
    the voxels inside. Values such as 1.2 lower the error at faces, which otherwise can show as a
    grid. No effect along axes whose factor is 1 or 2, where all voxels are next to faces."""

    gradient_weight: NotNegative = 0.0
    """Weight of the gradient loss, the mean error of finite differences between neighboring
    voxels."""

    kl_weight: NotNegative = 1e-4
    """Weight of the KL loss; ignored by `vq` and `magvit`."""

    kl_reduction: Literal["mean", "sum"] = "mean"
    """Reduction of the KL loss over the latent elements of a sample: `mean`, or `sum` as in other
    projects, whose KL weights then carry over."""

    kl_anneal_samples: Samples = 0
    """Number of samples over which the weight of the KL loss rises linearly from 0."""

    equivariance_weight: NotNegative = 0.0
    """Weight of the equivariance loss, the reconstruction loss of a latent of half the size,
    randomly flipped and rotated, against the image transformed in the same way (EQ-VAE). It makes
    latents easier to model by diffusion; needs `model.latent_type` kl."""

    commitment_weight: NotNegative = 0.25
    """Weight of the commitment loss between latents and their codes; ignored by `kl`."""

    entropy_weight: NotNegative = 0.1
    """Weight of the entropy loss of the quantizer `lfq`; ignored by all others."""

    perceptual_weight: NotNegative = 0.0
    """Weight of the perceptual loss on slices; needs `perceptual_weights_path`."""

    perceptual_weights_path: str | None = None
    """Path of VGG-16 weights, a safetensors file or PyTorch state dict. The linear layers of LPIPS
    are used if the file contains them."""

    perceptual_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Fraction of the slices along each axis for which the perceptual loss is computed."""

    adversarial_weight: NotNegative = 0.0
    """Weight of the adversarial loss; 0 means no discriminator."""

    adversarial_loss: AdversarialLoss = "hinge"
    """Type of adversarial loss."""

    adversarial_start_samples: Samples = 15_000
    """Number of samples after which adversarial training starts, typically 10 to 20 % of the
    run."""

    discriminator_alone_samples: Samples = 0
    """Number of samples after the start during which only the discriminator trains, as for a
    finished autoencoder that would otherwise learn from a random discriminator."""

    adversarial_ramp_samples: Samples = 5_000
    """Number of samples after that over which the generator's adversarial weights rise from 0."""

    adversarial_adaptive: bool = True
    """Multiply the adversarial weight by the ratio of the gradient norms of the reconstruction loss
    and the adversarial loss at the last layer (adaptive weight of VQGAN)."""

    adversarial_adaptive_limit: Annotated[float, Field(gt=0)] = 10.0
    """Maximum of the adaptive weight ratio."""

    feature_matching_weight: NotNegative = 0.0
    """Weight of the feature matching loss, the mean difference of discriminator features."""

    r1_weight: NotNegative = 0.0
    """Weight of the R1 penalty, the squared gradient of the discriminator at real images."""

    r1_every: PositiveInt = 16
    """Number of discriminator steps between R1 penalties; the weight is multiplied by it."""

    lecam_weight: NotNegative = 0.0
    """Weight of the LeCam regularization, which keeps discriminator outputs near their moving
    averages."""

    discriminator_ch: PositiveInt = 64
    """Number of channels of the discriminator's first convolution."""

    discriminator_levels: PositiveInt = 3
    """Number of downsampling layers of the discriminator."""

    discriminator_norm: Literal["group", "instance"] = "group"
    """Type of normalization in the discriminator."""

    @property
    def windows(self) -> dict[Window, float]:
        """Windows with a weight above 0, and their weights."""
        return {parse_window(text): w for text, w in self.window_weights.items() if w > 0}

    def check_units(self, preprocess: PreprocessConfig, output_activation: str | None) -> None:
        """Check that the losses fit the range of model units and HU.

        Raises:
            ValueError: If a loss on logits is used with a model range other than [0, 1], or a
                window is outside the HU range of the model.
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
        """Check that training patches are large enough for the networks.

        Args:
            patch: Size of a patch in voxels along each axis.
            strides: Strides of the discriminator's levels along each axis.

        Raises:
            ValueError: If a patch is too small; the message gives the required size.
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
            raise ValueError(
                f"focal_gamma is 0 or at least 1, got {gamma}: its gradient would be unbounded"
            )
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
            raise ValueError(f"window {double[0]!r} occurs twice")
        return weights

    @model_validator(mode="after")
    def _check_perceptual(self) -> ObjectiveConfig:
        if self.perceptual_weight > 0 and self.perceptual_weights_path is None:
            raise ValueError(
                f"perceptual_weight {self.perceptual_weight} needs perceptual_weights_path, a "
                "local file: nothing is downloaded; or set the weight to 0"
            )
        return self
