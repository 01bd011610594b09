"""The Gaussian that the encoder gives for every latent element."""

from __future__ import annotations

import torch

from ct_vae.errors import InputError

LOGVAR_LIMITS = (-30.0, 20.0)


class DiagonalGaussian:
    """Independent normal distributions, one per latent element (Kingma and Welling 2014).

    Args:
        moments: ``(B, 2 C, *spatial)``: means, then log-variances, which are clamped to
            [-30, 20]. Computed with in float32, or in float64 when that is what comes in.

    Attributes:
        mean: ``(B, C, *spatial)``.
        logvar: ``(B, C, *spatial)``.

    Raises:
        InputError: If the channels cannot be halved.
    """

    def __init__(self, moments: torch.Tensor) -> None:
        if moments.ndim < 2 or moments.shape[1] % 2:
            raise InputError(
                f"moments hold as many log-variances as means, got shape {tuple(moments.shape)}"
            )
        wide = moments if moments.dtype == torch.float64 else moments.float()
        self.mean, logvar = wide.chunk(2, dim=1)
        self.logvar = logvar.clamp(*LOGVAR_LIMITS)

    @property
    def std(self) -> torch.Tensor:
        """Standard deviations ``(B, C, *spatial)``."""
        return torch.exp(0.5 * self.logvar)

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw ``(B, C, *spatial)``.

        The noise comes from the generator's own device: one on the CPU gives the same sample
        whatever device the model runs on.
        """
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(
            self.mean.shape, generator=generator, dtype=self.mean.dtype, device=device
        )
        return self.mean + self.std * noise.to(self.mean.device)

    def mode(self) -> torch.Tensor:
        """The most probable latent, which is the mean."""
        return self.mean

    def kl(self) -> torch.Tensor:
        """Divergence from the unit Gaussian, mean per latent element, ``(B,)``."""
        return self.kl_elements().flatten(1).mean(dim=1)

    def kl_elements(self) -> torch.Tensor:
        """Divergence of each element from the unit Gaussian, ``(B, C, *spatial)``.

        Kingma and Welling 2014, appendix B, before the sum.
        """
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar)
