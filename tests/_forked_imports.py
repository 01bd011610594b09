"""What every process needs, imported once before any is forked."""

import matplotlib.backends.backend_agg
import pytest
import torch
import torch._dynamo

import ct_vae.cli.commands.train
import ct_vae.cli.main
import ct_vae.training.trainer
import ct_vae.training.validation.validate

torch.set_num_threads(1)
__all__ = ["ct_vae", "matplotlib", "pytest"]
