"""MONAI transforms between HU and model units, invertible by MONAI's ``inverse``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform

from ct_vae.preprocess.hu_scale import HounsfieldScale, Interval


class ScaleHUd(MapTransform, InvertibleTransform):  # type: ignore[misc]
    """Scale HU to model units as in training; the inverse is exact within the window.

    Args:
        keys: Keys of tensors or MetaTensors of any shape.
        window_hu: Lowest and highest HU, to which values are clipped; defaults to (-1000, 1000).
        model_range: Model units of the ends of the window; defaults to (-1, 1).
        allow_missing_keys: If true, ignore missing keys; defaults to false.

    Raises:
        ConfigError: If the lower end of an interval is not below its upper end.

    Examples:
        >>> import torch
        >>> from ct_vae.preprocess.hounsfield_transforms import ScaleHUd
        >>> scale = ScaleHUd("image")
        >>> scaled = scale({"image": torch.tensor([-1500.0, -1000.0, 0.0, 500.0])})
        >>> scaled["image"]
        tensor([-1.0000, -1.0000,  0.0000,  0.5000])
        >>> scale.inverse(scaled)["image"]
        tensor([-1000., -1000.,     0.,   500.])
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
        """Scale the values of every key and record the transform on MetaTensors."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self._there(result[key])
            self.push_transform(result, key)
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo the latest transform of this kind for every key."""
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
    """Scale model units to HU, the reverse of `ScaleHUd` with the same arguments."""

    def _there(self, values: torch.Tensor) -> torch.Tensor:
        return self.scale.to_hu(values)

    def _back(self, values: torch.Tensor) -> torch.Tensor:
        return self.scale.to_model(values)
