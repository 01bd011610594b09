"""Optimizer and learning rate schedule in samples seen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import torch

from ct_vae.config.training import TrainingConfig
from ct_vae.models.autoencoder import Autoencoder

Group = dict[str, Any]

_COSINE_FLOOR = 0.01


SHARE = "share"


def build_optimizer(
    parameters: Iterable[torch.nn.Parameter] | Iterable[Group],
    config: TrainingConfig,
    fused: bool = False,
) -> torch.optim.AdamW:
    """Build AdamW (Loshchilov and Hutter 2019) from a configuration.

    Args:
        parameters: Parameters, or groups of them.
        config: Section ``training`` of the configuration.
        fused: Update all parameters with one kernel, as is fastest on GPUs.
    """
    return torch.optim.AdamW(
        parameters,
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=fused or None,
    )


def autoencoder_groups(model: Autoencoder, config: TrainingConfig) -> list[Group]:
    """Group the parameters of an autoencoder by their learning rate, relative to `lr`.

    Parameters stay in the order of the model, so that a run can resume with other rates.
    """
    encoding = {id(p) for part in model.encoding_parts().values() for p in part.parameters()}
    rates = {True: config.encoder_lr, False: config.decoder_lr}
    return [
        {"params": list(group), SHARE: (rates[encodes] or config.lr) / config.lr}
        for encodes, group in groupby(model.parameters(), lambda p: id(p) in encoding)
    ]


def learning_rate(config: TrainingConfig, samples_seen: int) -> float:
    """Return the learning rate after ``samples_seen`` samples: linear warm-up, then a schedule."""
    warmup = config.warmup_samples
    if samples_seen < warmup:
        return config.lr * (samples_seen + config.batch_size) / (warmup + config.batch_size)
    return config.lr * _share(config, samples_seen - warmup)


def _share(config: TrainingConfig, samples: int) -> float:
    """Return the fraction of the learning rate ``samples`` after warm-up."""
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "step":
        return float(config.lr_decay ** (samples // config.lr_decay_samples))
    if config.schedule == "exponential":
        return math.pow(config.lr_decay, samples / config.lr_decay_samples)
    length = max(1, config.samples - config.warmup_samples)
    if config.schedule == "wsd":
        decay = min(config.lr_decay_samples, length)
        samples, length = max(0, samples - (length - decay)), decay
    done = min(1.0, samples / length)
    return _COSINE_FLOOR + (1 - _COSINE_FLOOR) * (1 + math.cos(math.pi * done)) / 2
