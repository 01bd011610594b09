"""Layouts of latents in NIfTI files, and the additional JSON file of layout ``maisi``.

``plain`` is 4-D with channels last. ``vector`` is 5-D float32 ``(X, Y, Z, 1, C)`` with the intent
of a vector; with standard deviations of the posterior, the axis of time has two entries, the means
and the standard deviations.

``maisi`` is the format of the diffusion training of MAISI (NVIDIA's NV-Generate-CTMR,
``scripts/diff_model_train.py``): 4-D float32, channels last, not scaled, in ``<stem>_emb.nii.gz``,
with a file ``<stem>_emb.nii.gz.json`` with ``spacing`` and ``modality``. The spacing is that of the
CT, since it conditions the network on the generated image. For training with body regions
(``ddpm-ct``), add ``top_region_index`` and ``bottom_region_index`` to the JSON file; further keys
are ignored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import ConfigError, InputError
from ct_vae.io.latent.record import CODED_SUFFIX, SUFFIXES, is_coded_name, record_path
from ct_vae.latent import LatentRecord, Layout

VECTOR_INTENT = 1007
MAISI_ENDING = "_emb.nii.gz"
# Endings of the names of latents of all layouts and forms.
LATENT_ENDINGS = (*(f"_latent{suffix}" for suffix in SUFFIXES), MAISI_ENDING)
_AXCODES = "RAS"
_SAME_SPACING = 1e-6


def latent_ending(layout: Layout, dtype: str | None = None) -> str:
    """Return the ending of the name of a latent, after the stem of its source."""
    if dtype == "coded":
        return f"_latent{CODED_SUFFIX}"
    return MAISI_ENDING if layout == "maisi" else "_latent.nii.gz"


def has_latent_name(name: str) -> bool:
    """Return true if a file has the name of a latent, after a stem."""
    lower = name.lower()
    return any(lower.endswith(each) and len(name) > len(each) for each in LATENT_ENDINGS)


def check_layout(
    layout: Layout, dtype: str, codes: bool, axcodes: str, posterior: bool = False
) -> None:
    """Check that a layout supports a latent.

    Args:
        layout: Requested layout.
        dtype: Stored type of the values.
        codes: True if the latent consists of codes.
        axcodes: Directions of the latent's axes.
        posterior: True if standard deviations follow the means.

    Raises:
        ConfigError: If the layout does not support the latent.
    """
    if layout not in get_args(Layout):
        raise ConfigError(f"layouts are {', '.join(get_args(Layout))}, got {layout!r}")
    if codes and layout != "plain":
        raise ConfigError(
            f"layout {layout} holds channels of real values, and this latent is one of codes",
            "leave --layout out",
        )
    if posterior and layout == "maisi":
        # Its loader takes every volume of the file for a channel, and its scale from all of them.
        raise ConfigError(
            "layout maisi holds no standard deviations, because MAISI would read them as channels",
            "leave --layout or --posterior out, or encode samples with --sample --seed",
        )
    # ITK writes beyond its memory when it scales vectors of integers (seen in SimpleITK 2.5), and
    # files of MAISI are float32.
    if layout != "plain" and dtype != "float32":
        raise ConfigError(f"layout {layout} is float32, not {dtype}", "leave --dtype out")
    if layout == "maisi" and axcodes != _AXCODES:
        raise ConfigError(
            f"layout maisi has axes that run to R, A and S, and this model's are {axcodes}",
            "take another layout",
        )


def check_name(path: str | Path, dtype: str, layout: Layout, codes: bool) -> None:
    """Check that the name of a latent file matches its layout and dtype.

    Raises:
        ConfigError: If the name does not match.
    """
    if layout == "maisi" and not Path(path).name.endswith(MAISI_ENDING):
        raise ConfigError(f"{path}: a latent of layout maisi is named *{MAISI_ENDING}")
    # Raises an error for names without the suffix of a latent.
    record_path(path)
    if dtype == "coded" and codes:
        raise ConfigError("codes are not stored as coded", "leave dtype out")
    if is_coded_name(path) != (dtype == "coded"):
        raise ConfigError(
            f"{path}: coded latents, and no others, are named *{CODED_SUFFIX}",
            "change the name or the dtype",
        )


def to_file_axes(array: NDArray[Any], layout: Layout, posterior: bool) -> NDArray[Any]:
    """Return a view of an array ``(C, X, Y, Z)`` or ``(X, Y, Z)`` with the axes of a file.

    Args:
        array: Values; standard deviations follow the means.
        layout: Layout of the file.
        posterior: True if there are standard deviations.
    """
    if array.ndim == 3:
        return array
    if layout == "vector":
        pair = array.reshape(2 if posterior else 1, -1, *array.shape[1:])
        return pair.transpose(2, 3, 4, 0, 1)
    return np.moveaxis(array, 0, -1)


def from_file_axes(stored: NDArray[Any], layout: Layout, posterior: bool) -> NDArray[Any]:
    """Convert an array as stored in a file to channels first, the inverse of `to_file_axes`.

    Raises:
        InputError: If the array does not have this layout.
    """
    expected = {"plain": (3, 4), "vector": (5,), "maisi": (4,)}[layout]
    times = 2 if posterior else 1
    if stored.ndim not in expected or (layout == "vector" and stored.shape[3] != times):
        raise InputError(f"has the shape {stored.shape}, which is not one of layout {layout}")
    if stored.ndim == 5:
        return stored.transpose(3, 4, 0, 1, 2).reshape(-1, *stored.shape[:3])
    return stored if stored.ndim == 3 else np.moveaxis(stored, -1, 0)


def sidecar_path(path: str | Path) -> Path:
    """Return the path of the JSON file that MAISI expects: the full name and ``.json``."""
    return Path(f"{path}.json")


def sidecar_bytes(record: LatentRecord) -> bytes:
    """Return the content of the JSON file for MAISI."""
    facts = {
        "dim": list(record.latent_grid().shape),
        "spacing": list(record.preprocess.oriented.grid().spacing_mm),
        "modality": "ct",
    }
    return json.dumps(facts, indent=2).encode() + b"\n"


def check_sidecar(path: str | Path, record: LatentRecord) -> None:
    """Check that the JSON file of a latent of layout ``maisi`` agrees with its record.

    Raises:
        InputError: If the JSON file is missing, malformed or of another latent.
    """
    sidecar = sidecar_path(path)
    again = "encode the source again"
    try:
        facts = json.loads(sidecar.read_bytes())
        dim, spacing = tuple(facts["dim"]), np.asarray(facts["spacing"], dtype=np.float64)
    except OSError as error:
        raise InputError(
            f"its JSON {sidecar.name} is missing or cannot be read: {error.strerror}", again
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"its JSON {sidecar.name} is malformed", again) from error
    grid = record.preprocess.oriented.grid()
    same = spacing.shape == (3,) and np.allclose(
        spacing, grid.spacing_mm, rtol=_SAME_SPACING, atol=0
    )
    if dim != record.latent_grid().shape or not same:
        raise InputError(f"its JSON {sidecar.name} does not agree with its record", again)
