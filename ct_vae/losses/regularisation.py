"""Former module of the KL loss, kept for configurations that refer to it by name."""

from ct_vae.losses.kl import KLLoss as Divergence
from ct_vae.losses.kl import ramp

__all__ = ["Divergence", "ramp"]
