"""What every training process needs, imported once before they are forked."""

import torch

import ct_vae.training.trainer
import ct_vae.training.validation

torch.set_num_threads(1)
__all__ = ["ct_vae"]
