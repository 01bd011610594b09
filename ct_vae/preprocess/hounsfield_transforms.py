"""HU to model units and back in MONAI pipelines, undone by MONAI's ``inverse``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform

from ct_vae.preprocess.hu_scale import HounsfieldScale, Interval


class ScaleHUd(MapTransform, InvertibleTransform):  # type: ignore[misc]
    """Maps HU to model units as a model was trained; the inverse is right within the window.

    Args:
        keys: Of tensors or MetaTensors of any shape.
        window_hu: Lowest and highest HU, beyond which is clipped.
        model_range: Their model units.
        allow_missing_keys: Whether items may lack a key.

    Raises:
        ConfigError: If an interval does not run from low to high.
    """

    def __init__(
        self,
        keys: KeysCollection,
        window_hu: Interval = (-1000.0, 1000.0),
        model_range: Interval = (-1.0, 1.0),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scale = HounsfieldScale(tuple(window_hu), tuple(model_range))  # type: ignore[arg-type]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Map every key, and note it on MetaTensors."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self._there(result[key])
            self.push_transform(result, key)
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo the latest such transform of every key."""
        result = dict(data)
        for key in self.key_iterator(result):
            self.pop_transform(result, key)
            result[key] = self._back(result[key])
        return result

    def _there(self, values: torch.Tensor) -> torch.Tensor:
        return self.scale.to_model(values)

    def _back(self, values: torch.Tensor) -> torch.Tensor:
        return self.scale.to_hu(values)


class UnscaleHUd(ScaleHUd):
    """Maps model units to HU; the arguments and the inverse are those of `ScaleHUd`, turned."""

    def _there(self, values: torch.Tensor) -> torch.Tensor:
        return self.scale.to_hu(values)

    def _back(self, values: torch.Tensor) -> torch.Tensor:
        return self.scale.to_model(values)
