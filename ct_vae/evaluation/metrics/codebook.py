"""Use of the codebook of a model with codes, over all cases."""

from __future__ import annotations

import numpy as np

from ct_vae.latent import Latent


class CodebookUse:
    """Counts how often each code occurs.

    Args:
        codebook_size: Number of codes.
    """

    def __init__(self, codebook_size: int) -> None:
        self._counts = np.zeros(codebook_size, np.int64)

    def add(self, latent: Latent) -> None:
        """Count the codes of a latent."""
        self._counts += np.bincount(latent.array.ravel(), minlength=len(self._counts))

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the numbers for tables.

        Returns:
            ``codebook_size``, ``codes_used``, their share ``code_usage``, and ``code_perplexity``,
            the number of equally frequent codes with the same entropy; ``None`` without codes.
        """
        used = self._counts[self._counts > 0]
        shares = used / max(used.sum(), 1)
        perplexity = float(np.exp(-(shares * np.log(shares)).sum())) if used.size else None
        return {
            "codebook_size": len(self._counts),
            "codes_used": int(used.size),
            "code_usage": used.size / len(self._counts),
            "code_perplexity": perplexity,
        }
