"""Posterior of a continuous latent: a Gaussian with diagonal covariance."""

from __future__ import annotations

import torch

from ct_vae.errors import InputError

LOGVAR_LIMITS = (-30.0, 20.0)


class DiagonalGaussian:
    """Independent normal distributions, one per latent element (Kingma and Welling 2014).

    Args:
        moments: Means, then log-variances, ``(B, 2 C, *spatial)``. Log-variances are clamped to
            [-30, 20]. Computed in float32, or in float64 if the moments are.

    Attributes:
        mean: Means ``(B, C, *spatial)``.
        logvar: Log-variances ``(B, C, *spatial)``.

    Raises:
        InputError: If the number of channels is odd.
    """

    def __init__(self, moments: torch.Tensor) -> None:
        if moments.ndim < 2 or moments.shape[1] % 2:
            raise InputError(
                "moments need an even number of channels, means and log-variances, "
                f"got shape {tuple(moments.shape)}"
            )
        wide = moments if moments.dtype == torch.float64 else moments.float()
        self.mean, logvar = wide.chunk(2, dim=1)
        self.logvar = logvar.clamp(*LOGVAR_LIMITS)

    @property
    def std(self) -> torch.Tensor:
        """Standard deviations ``(B, C, *spatial)``."""
        return torch.exp(0.5 * self.logvar)

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw a sample ``(B, C, *spatial)``.

        The noise is drawn on the generator's device, so a generator on the CPU gives the same
        sample for any device of the model.

        Args:
            generator: Random generator; defaults to the global one of the latent's device.
        """
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(
            self.mean.shape, generator=generator, dtype=self.mean.dtype, device=device
        )
        return self.mean + self.std * noise.to(self.mean.device)

    def mode(self) -> torch.Tensor:
        """Return the mode of the distribution, which is its mean."""
        return self.mean

    def kl(self) -> torch.Tensor:
        """Compute the KL divergence from the unit Gaussian, summed over elements, ``(B,)``."""
        return self.kl_elements().flatten(1).sum(dim=1)

    def kl_elements(self) -> torch.Tensor:
        """Compute the KL divergence of each element from the unit Gaussian, ``(B, C, *spatial)``.

        See Kingma and Welling 2014, appendix B.
        """
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar)
