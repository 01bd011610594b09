"""From configuration to a step that trains."""

from __future__ import annotations

from ct_vae.blocks.memory_format import memory_format
from ct_vae.config.run import RunConfig
from ct_vae.losses.build import build_objective
from ct_vae.training.data.model_units import ToModelUnits
from ct_vae.training.distributed import World
from ct_vae.training.initial import freeze_encoder, initial_model
from ct_vae.training.latent_changes import LatentChanges
from ct_vae.training.learner import Learner
from ct_vae.training.optim import autoencoder_groups, build_optimiser
from ct_vae.training.precision import choose_precision
from ct_vae.training.step import StepSettings, TrainStep


def build_step(config: RunConfig, world: World) -> TrainStep:
    """Both networks with their first weights, their optimisers and the objective.

    Raises:
        ConfigError: If the device does not compute in the numbers asked for, or if weights of the
            perceptual network are missing.
        WeightsError: If weights that the configuration names do not fit.
    """
    training = config.training
    precision = choose_precision(training.precision, world.device)
    layout = memory_format(config.model.spatial_dims)
    model = initial_model(config.model, training.seed, training.trunk_from)
    if training.freeze == "encoder":
        freeze_encoder(model)
    model.to(world.device, memory_format=layout)  # type: ignore[call-overload]
    objective = build_objective(config, model.output_activation, world.device)
    optimiser = build_optimiser(autoencoder_groups(model, training), training)
    generator = Learner(model, optimiser, training.grad_clip, precision, world)
    discriminator = None
    if objective.adversary is not None:
        objective.adversary.to(memory_format=layout)  # type: ignore[call-overload]
        discriminator = Learner(
            objective.adversary,
            build_optimiser(objective.adversary.parameters(), training),
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
