"""Build the training step from a configuration."""

from __future__ import annotations

from ct_vae.blocks.memory_format import memory_format
from ct_vae.config.run import RunConfig
from ct_vae.losses.build import build_objective
from ct_vae.training.data.model_units import ToModelUnits
from ct_vae.training.device.compiled import compile_blocks
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.initial import freeze_encoder, initial_model
from ct_vae.training.latent_changes import LatentChanges
from ct_vae.training.optim import autoencoder_groups, build_optimizer
from ct_vae.training.optimized_network import OptimizedNetwork
from ct_vae.training.precision import choose_precision
from ct_vae.training.step import StepSettings, TrainStep


def build_step(config: RunConfig, world: DistributedContext) -> TrainStep:
    """Build both networks with initial weights, their optimizers and the objective.

    Raises:
        ConfigError: If the device does not support the precision, if there is no compiler for
            `training.compile`, or if weights of the perceptual network are missing.
        WeightsError: If weights in the configuration do not match the model.
    """
    training = config.training
    precision = choose_precision(training.precision, world.device)
    layout = memory_format(config.model.spatial_dims)
    model = initial_model(config.model, training.seed, training.trunk_from)
    if training.freeze == "encoder":
        freeze_encoder(model)
    model.to(world.device, memory_format=layout)  # type: ignore[call-overload]
    if training.compile:
        compile_blocks(model, world.device)
    objective = build_objective(config, model.output_activation, world.device)
    fused = world.device.type == "cuda"
    optimizer = build_optimizer(autoencoder_groups(model, training), training, fused)
    generator = OptimizedNetwork(model, optimizer, training.grad_clip, precision, world)
    discriminator = None
    if objective.adversary is not None:
        objective.adversary.to(memory_format=layout)  # type: ignore[call-overload]
        discriminator = OptimizedNetwork(
            objective.adversary,
            build_optimizer(objective.adversary.parameters(), training, fused),
            training.grad_clip,
            precision,
            world,
            (training.discriminator_lr or training.lr) / training.lr,
        )
    share = -(-training.batch_size // world.size)
    settings = StepSettings(
        training.seed,
        training.micro_batch_size or share,
        training.most_skipped,
        LatentChanges(
            training.latent_noise,
            training.latent_noise_type,
            training.nested_channels or (),
            training.equivariance_weight > 0,
        ),
    )
    to_model_units = ToModelUnits(config, world.device)
    return TrainStep(
        generator, objective, settings, precision, world, discriminator, to_model_units
    )
