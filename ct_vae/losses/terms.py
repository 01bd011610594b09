"""Weighted sum of loss terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

Weight = float | torch.Tensor


@dataclass(frozen=True, eq=False)
class LossTerms:
    """Value of an objective and its terms.

    Attributes:
        total: Weighted sum of the terms, a scalar in float32.
        values: Unweighted terms by name, scalars in float32.
        weights: Weights of the terms at this step; an adaptive one is a scalar tensor.
    """

    total: torch.Tensor
    values: Mapping[str, torch.Tensor]
    weights: Mapping[str, Weight]


def weighted_sum(values: Mapping[str, torch.Tensor], weights: Mapping[str, Weight]) -> LossTerms:
    """Compute the weighted sum of at least one term.

    Args:
        values: Scalars by name.
        weights: Weights by name, at least those of the values.
    """
    first, *others = (weights[name] * value for name, value in values.items())
    total: torch.Tensor = sum(others, start=first)
    return LossTerms(total, dict(values), {name: weights[name] for name in values})
