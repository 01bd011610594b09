"""A sum of weighted terms, with every term on view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Terms:
    """Value of an objective and of its parts.

    Attributes:
        total: What is minimized, a scalar in float32.
        values: Every term unweighted, by name, scalars in float32.
        weights: What each was multiplied by at this moment.
    """

    total: torch.Tensor
    values: Mapping[str, torch.Tensor]
    weights: Mapping[str, float]


def add_up(values: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> Terms:
    """The weighted sum of at least one term.

    Args:
        values: Scalars by name.
        weights: At least those of the values.
    """
    first, *others = (weights[name] * value for name, value in values.items())
    total: torch.Tensor = sum(others, start=first)
    return Terms(total, dict(values), {name: weights[name] for name in values})
