"""The training loop and its state."""

from ct_vae.training.trainer import train

__all__ = ["train"]
