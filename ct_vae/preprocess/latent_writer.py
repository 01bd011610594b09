"""Writer of latents for MONAI's ``SaveImage``.

Use it as ``SaveImaged("latent", writer="ct_vae.preprocess.latent_writer.LatentWriter",
output_postfix="latent", output_ext=".nii.gz")``.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from monai.data import ImageWriter
from monai.utils import MetaKeys

from ct_vae.errors import ConfigError, InputError
from ct_vae.grid import Grid
from ct_vae.io.latent.record import parse_record
from ct_vae.io.latent.storage import LatentDtype
from ct_vae.io.latent.write_latent import write_latent
from ct_vae.latent import Latent, LatentRecord, Layout

# Key of the record (JSON text) in the metadata of a latent.
RECORD_KEY = "ct_vae_latent_record"
_TOLERANCE_MM = 1e-2


def check_position(record: LatentRecord, affine: Any) -> None:
    """Check that a latent was not flipped, rotated or moved after encoding.

    The record describes how to decode the latent on the grid of the encoder only.

    Raises:
        InputError: If the affine differs from that of the record.
    """
    grid = record.latent_grid()
    now = Grid(grid.shape, np.asarray(torch.as_tensor(affine).cpu(), dtype=np.float64))
    if not now.distance_mm(grid) <= _TOLERANCE_MM:
        raise InputError(
            "the latent was moved after encoding, so its record no longer describes its position",
            "do not apply spatial transforms to latents; apply them to the CT",
        )


class LatentWriter(ImageWriter):  # type: ignore[misc]
    """Write latents as ``ct-vae encode`` does, each with its record next to it.

    Args:
        dtype: Data type as in `ct_vae.io.write_latent`; ``None`` (the default) selects that of the
            layout.
        layout: Layout as in `ct_vae.io.write_latent`; defaults to ``plain``.
        kwargs: Options of other writers that ``SaveImage`` passes; ignored.

    Raises:
        ConfigError: If the data type or the layout is unknown.
    """

    def __init__(
        self,
        dtype: LatentDtype | None = None,
        layout: Layout = "plain",
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("dtype", dtype, (None, *get_args(LatentDtype))),
            ("layout", layout, get_args(Layout)),
        ):
            if value not in known:
                there = ", ".join(map(str, known))
                raise ConfigError(f"unknown {name} of latents {value!r}", f"choose one of {there}")
        self._dtype = dtype
        self._layout = layout
        self._array: np.ndarray[Any, Any] = np.empty(0, np.float32)
        self._record: LatentRecord | None = None

    def set_data_array(
        self,
        data_array: torch.Tensor | np.ndarray,
        channel_dim: int | None = 0,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Set the values ``(C, x, y, z)``, or codes ``(1, x, y, z)`` or ``(x, y, z)``."""
        self._array = np.asarray(torch.as_tensor(data_array).detach().cpu())

    def set_metadata(self, meta_dict: Mapping[str, Any] | None, **_: Any) -> None:
        """Read the record from the metadata.

        Raises:
            ConfigError: If the metadata have no record.
            InputError: If the record is damaged, or does not match the position of the latent.
        """
        meta = meta_dict or {}
        text = meta.get(RECORD_KEY)
        if text is None:
            raise ConfigError(
                f"the metadata have no {RECORD_KEY}, without which the latent cannot be decoded",
                "encode with ct_vae.bundle.EncodeCTd, or keep the metadata",
            )
        self._record = parse_record(str(text).encode())
        if MetaKeys.AFFINE in meta:
            check_position(self._record, meta[MetaKeys.AFFINE])

    def write(self, filename: str | PathLike[str], **_: Any) -> None:
        """Write latent and record, both atomically.

        Raises:
            InputError: If values are not finite or do not match the record.
            OutputError: If the files cannot be written.
        """
        assert self._record is not None
        codes = self._record.kind == "codes"
        array = self._array[0] if codes and self._array.ndim == 4 else self._array
        latent = Latent(array, self._record.latent_grid(), self._record)
        write_latent(latent, Path(filename), self._dtype, self._layout)
