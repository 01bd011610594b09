"""MONAI transforms that encode CT volumes to latents and decode them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.inference.codec import Codec, load_codec
from ct_vae.io.latent.record import parse_record, record_bytes
from ct_vae.latent import Latent
from ct_vae.preprocess.latent_writer import RECORD_KEY, check_position
from ct_vae.volume import Volume


class _CodecTransform(MapTransform):  # type: ignore[misc]
    """Base class of transforms with a codec."""

    def __init__(
        self, keys: KeysCollection, model: str | Codec, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.codec = model if isinstance(model, Codec) else load_codec(model)


class EncodeCTd(_CodecTransform):
    """Encode CT volumes to latents, with the record as metadata.

    `LatentWriter` writes the latents, and `DecodeLatentd` decodes them.

    Args:
        keys: Keys of MetaTensors ``(1, X, Y, Z)`` or ``(X, Y, Z)`` in HU, of any orientation.
        model: Model folder or codec.
        allow_missing_keys: True to ignore missing keys.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return latents as MetaTensors ``(C, x, y, z)`` with affine, or codes ``(1, x, y, z)``."""
        result = dict(data)
        for key in self.key_iterator(result):
            latent = self.codec.encode(_volume(result[key], str(key)))
            array = latent.array if latent.array.ndim == 4 else latent.array[None].astype(np.int32)
            meta = {
                **_without(result[key].meta, "affine"),
                RECORD_KEY: record_bytes(latent.record).decode(),
                "spatial_shape": np.asarray(array.shape[1:]),
            }
            affine = torch.tensor(latent.grid.affine)
            result[key] = MetaTensor(torch.from_numpy(array.copy()), affine=affine, meta=meta)
        return result


class DecodeLatentd(_CodecTransform):
    """Decode latents of `EncodeCTd` to HU on the original grid.

    Args:
        keys: Keys of the latents.
        model: Model folder or codec.
        allow_missing_keys: True to ignore missing keys.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return volumes as MetaTensors ``(1, X, Y, Z)`` in HU.

        Raises:
            InputError: If a latent has no record, was encoded by another model, or was moved in
                space.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            given = result[key]
            text = getattr(given, "meta", {}).get(RECORD_KEY)
            if text is None:
                raise InputError(f"{key}: its metadata lack {RECORD_KEY}", "encode by EncodeCTd")
            record = parse_record(str(text).encode())
            check_position(record, given.affine)
            array = np.asarray(given.as_tensor().cpu())
            array = array[0] if record.kind == "codes" else array
            volume = self.codec.decode(Latent(array, record.latent_grid(), record))
            meta = _without(given.meta, "affine", RECORD_KEY)
            meta["spatial_shape"] = np.asarray(volume.grid.shape)
            voxels = torch.from_numpy(volume.voxels)[None]
            affine = torch.tensor(volume.grid.affine)
            result[key] = MetaTensor(voxels, affine=affine, meta=meta)
        return result


def _without(meta: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in meta.items() if name not in names}


def _volume(image: Any, key: str) -> Volume:
    if not isinstance(image, MetaTensor):
        raise InputError(
            f"{key}: not a MetaTensor, so its position is unknown", "load it by LoadImaged"
        )
    voxels = np.asarray(image.as_tensor().cpu())
    voxels = voxels[0] if voxels.ndim == 4 and len(voxels) == 1 else voxels
    if voxels.ndim != 3:
        raise InputError(f"{key}: shape {voxels.shape} is not that of one volume")
    if voxels.dtype != np.int16:
        voxels = voxels.astype(np.float32, copy=False)
        strange = voxels.size - int(np.isfinite(voxels).sum())
        if strange:
            raise InputError(f"{key}: {strange} voxels are not finite", "read it by CTReader")
    return Volume(voxels, Grid(voxels.shape, image.affine.cpu().numpy().astype(np.float64)))
