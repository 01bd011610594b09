"""Training images from the items of data sets of several libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ct_vae.config.run import RunConfig
from ct_vae.datasets.build import image_size
from ct_vae.datasets.resize import resize
from ct_vae.errors import InputError
from ct_vae.grid import Grid

_TAKEN = (
    "items can be tensors or NumPy arrays [C, *spatial] in HU, dictionaries or TorchIO subjects "
    "that hold one, NIfTI images of nibabel, tuples (image, ...), or lists of such samples"
)


class ImageReader:
    """Reads the images ``[C, *spatial]`` of a data set's items.

    A channel axis is added where it is missing, and the last axis is dropped where it is one voxel
    more than the model has dimensions, as in 2-D images of TorchIO. NIfTI images of nibabel, such
    as those of Hugging Face data sets, are oriented as the preprocessing says; all other images are
    used as they are.

    Args:
        config: Configuration of the run: its model, preprocessing and data.
    """

    def __init__(self, config: RunConfig) -> None:
        self._dims = config.model.spatial_dims
        self._channels = config.model.in_channels
        self._factor = config.model.factor
        self._key = config.data.image_key
        self._axcodes = config.preprocess.axcodes
        self._size = image_size(config)

    def __call__(self, item: Any) -> list[torch.Tensor]:
        """Return the images of an item: one, or one for each sample of a list.

        Raises:
            InputError: If the item holds no image, several without `data.image_key`, or one with
                the wrong number of axes or channels.
        """
        return [self._image(sample) for sample in _samples(item)]

    def check_sides(self, sides: Sequence[int]) -> None:
        """Refuse the sides of a training image that are not multiples of the model's factor.

        Raises:
            InputError: With sides and factor.
        """
        if any(n < 1 or n % f for n, f in zip(sides, self._factor, strict=True)):
            raise InputError(
                f"the training data set gives images of {tuple(sides)} voxels, which are not "
                f"multiples of the factor {tuple(self._factor)}",
                "crop or pad them, or set data.resize_to",
            )

    def _image(self, sample: Any) -> torch.Tensor:
        image = self._arranged(self._tensor(self._value(sample)))
        return image if self._size is None else resize(image, self._size)

    def _value(self, sample: Any) -> Any:
        if isinstance(sample, tuple | list):
            return self._value(sample[0]) if sample else None
        return self._entry(sample) if isinstance(sample, Mapping) else sample

    def _entry(self, sample: Mapping[str, Any]) -> Any:
        keys = list(sample)
        if self._key is not None:
            if self._key not in sample:
                raise InputError(
                    f"data.image_key is {self._key!r}, and an item of the data set holds {keys}",
                    "give data.image_key one of them",
                )
            return sample[self._key]
        if "image" in sample:
            return sample["image"]
        images = [key for key in keys if _is_image(sample[key])]
        if len(images) == 1:
            return sample[images[0]]
        found = "no image" if not images else f"{len(images)} images, {images}"
        raise InputError(
            f"an item of the data set holds {found} (its keys are {keys})",
            f"name one with data.image_key; {_TAKEN}" if images else _TAKEN,
        )

    def _tensor(self, value: Any) -> torch.Tensor:
        if isinstance(value, torch.Tensor):
            # Patches do not need the geometry of a MetaTensor.
            return value.detach().as_subclass(torch.Tensor)
        if isinstance(value, np.ndarray) and value.dtype.kind in "iufb":
            return _from_numpy(value)
        if _is_nibabel(value):
            grid = Grid(value.shape, np.asarray(value.affine, dtype=np.float64))
            oriented = grid.reorient_array(np.asanyarray(value.dataobj), self._axcodes)
            return _from_numpy(oriented)[None]
        if _is_torchio(value):
            data: torch.Tensor = value.data
            return data.as_subclass(torch.Tensor)
        raise InputError(f"an item of the data set is {_described(value)}", _hint(value))

    def _arranged(self, image: torch.Tensor) -> torch.Tensor:
        dims = self._dims
        if image.ndim == dims + 2 and image.shape[-1] == 1:
            image = image[..., 0]
        elif image.ndim == dims and (dims == 1 or image.shape[0] > 1):
            image = image[None]
        if image.ndim != dims + 1:
            raise InputError(
                f"training images have a channel axis and {dims} sides, got shape "
                f"{tuple(image.shape)}",
                "model.spatial_dims is the number of sides",
            )
        if image.shape[0] not in (1, self._channels):
            raise InputError(
                f"training images have 1 or {self._channels} channels, which come first, got shape "
                f"{tuple(image.shape)}",
                "model.in_channels is the number of channels",
            )
        return image


def _samples(item: Any) -> Sequence[Any]:
    """Samples of an item: those of a list in which each holds an image, or the item alone."""
    if isinstance(item, list) and item and all(_is_image(s) or _holds_image(s) for s in item):
        return item
    return [item]


def _holds_image(sample: Any) -> bool:
    return isinstance(sample, Mapping) and any(map(_is_image, sample.values()))


def _is_image(value: Any) -> bool:
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.ndim > 0
    return _is_nibabel(value) or _is_torchio(value)


def _is_nibabel(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("dataobj", "affine", "shape"))


def _is_torchio(value: Any) -> bool:
    """Return True for a ``ScalarImage`` of TorchIO, not for a ``LabelMap``."""
    names = {kind.__name__ for kind in type(value).__mro__}
    return "ScalarImage" in names and isinstance(getattr(value, "data", None), torch.Tensor)


def _from_numpy(array: NDArray[Any]) -> torch.Tensor:
    # PyTorch has no operations on unsigned integers of more than one byte.
    wide = {"u2": np.int32, "u4": np.int64, "u8": np.int64, "b1": np.uint8}
    kind = wide.get(array.dtype.str[1:], array.dtype.newbyteorder("="))
    # A copy: items may be views of files that cannot be written to.
    return torch.from_numpy(np.array(array, dtype=kind, order="C"))


def _described(value: Any) -> str:
    if value is None:
        return "None, or holds no image"
    if isinstance(value, np.ndarray):
        return f"a NumPy array of {value.dtype}"
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")


def _hint(value: Any) -> str:
    if isinstance(value, list | int | float):
        return f"call with_format('torch') on a Hugging Face data set; {_TAKEN}"
    return _TAKEN
