"""Build the training objective from a configuration."""

from __future__ import annotations

import torch
from torch import nn

from ct_vae.config.loss import ObjectiveConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.config.run import RunConfig
from ct_vae.config.windows import Window
from ct_vae.losses.adversarial import AdversarialWarmup, Adversary
from ct_vae.losses.discriminator_regularizers import Penalties
from ct_vae.losses.gradient import gradient_loss
from ct_vae.losses.kl import KLLoss
from ct_vae.losses.objective import Objective
from ct_vae.losses.perceptual import PerceptualDistance
from ct_vae.losses.reconstruction import Loss, Reconstruction
from ct_vae.losses.vgg import load_vgg16
from ct_vae.losses.voxel_mean import VoxelMean, voxel_mean
from ct_vae.losses.window import WindowLoss
from ct_vae.models.discriminator import PatchDiscriminator


def build_objective(config: RunConfig, activation: nn.Module, device: torch.device) -> Objective:
    """Build the training objective of a run; terms of weight 0 are left out.

    Args:
        config: Configuration of the run.
        activation: Output activation of the decoder.
        device: Device of the perceptual network and the discriminator.

    Raises:
        ConfigError: If the weights of the perceptual network are missing or have other shapes.
    """
    losses, preprocess = config.training, config.preprocess
    weights = {
        "kl": losses.kl_weight,
        "commitment": losses.commitment_weight,
        "entropy": losses.entropy_weight,
        "equivariance": losses.equivariance_weight,
        "gradient": losses.gradient_weight,
        "perceptual": losses.perceptual_weight,
        "adversarial": losses.adversarial_weight,
        "feature_matching": losses.feature_matching_weight,
        **{_window_term(window): weight for window, weight in losses.windows.items()},
    }
    mean = voxel_mean(config.model.factor, losses.face_weight)
    return Objective(
        Reconstruction(
            losses.recon_type, activation, losses.focal_gamma, losses.charbonnier_eps, mean
        ),
        weights,
        _image_losses(losses, preprocess, mean),
        _perceptual(losses, preprocess, device),
        KLLoss(losses.kl_reduction, losses.kl_anneal_samples),
        build_adversary(config, device),
    )


def build_adversary(config: RunConfig, device: torch.device) -> Adversary | None:
    """Build the adversarial loss of a run, initialized from the run's seed.

    The global random state is left unchanged.

    Returns:
        The adversarial loss, or ``None`` if its weight is 0.
    """
    losses = config.training
    if losses.adversarial_weight == 0:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        discriminator = PatchDiscriminator(
            config.model.spatial_dims,
            config.model.out_channels,
            losses.discriminator_ch,
            losses.discriminator_levels,
            losses.discriminator_norm,
            config.discriminator_strides,
        )
    adversary = Adversary(
        discriminator,
        losses.adversarial_loss,
        AdversarialWarmup(
            losses.adversarial_start_samples,
            losses.adversarial_ramp_samples,
            losses.discriminator_alone_samples,
        ),
        Penalties(losses.r1_weight, losses.r1_every, losses.lecam_weight),
        losses.feature_matching_weight > 0,
        losses.adversarial_adaptive_limit if losses.adversarial_adaptive else None,
        losses.batch_size,
    )
    return adversary.to(device)


def _image_losses(
    losses: ObjectiveConfig, preprocess: PreprocessConfig, mean: VoxelMean
) -> dict[str, Loss]:
    built: dict[str, Loss] = {
        _window_term(window): WindowLoss(
            _units(window.low, preprocess), _units(window.high, preprocess), mean
        )
        for window in losses.windows
    }
    if losses.gradient_weight > 0:
        built["gradient"] = gradient_loss
    return built


def _perceptual(
    losses: ObjectiveConfig, preprocess: PreprocessConfig, device: torch.device
) -> PerceptualDistance | None:
    path = losses.perceptual_weights_path
    if losses.perceptual_weight == 0 or path is None:
        return None
    network = load_vgg16(path).to(device)
    return PerceptualDistance(network, preprocess.model_range, losses.perceptual_share)


def _window_term(window: Window) -> str:
    return f"window_{window.name}"


def _units(hu: float, preprocess: PreprocessConfig) -> float:
    """Convert HU to model units without clipping."""
    (bottom, top), (low, high) = preprocess.window_hu, preprocess.model_range
    return low + (hu - bottom) / (top - bottom) * (high - low)
