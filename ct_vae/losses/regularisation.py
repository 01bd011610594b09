"""The former name of `ct_vae.losses.kl`, for configurations that name it."""

from ct_vae.losses.kl import Divergence, ramp

__all__ = ["Divergence", "ramp"]
