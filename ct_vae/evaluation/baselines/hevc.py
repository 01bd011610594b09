"""HEVC baseline: axial slices as the frames of a video with 12 bits per sample."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import ConfigError, InputError
from ct_vae.evaluation.baselines.axial import axial_slices, from_axial_slices, import_codec
from ct_vae.evaluation.baselines.resample import Baseline
from ct_vae.volume import Volume

# HU of the lowest and highest of the 4096 samples.
LOWEST_HU, HIGHEST_HU = -1024, 3071
HIGHEST_QP = 51
# x265 has no smaller coding block, and its lookahead needs a few of them.
_LEAST_SIDE = 32
_FORMAT = "gray12le"
# The optimization for visual quality would cost RMSE. The range of the quantizer with 12 bits
# begins at -24, so that QP 0 is not yet lossless.
_OPTIONS = "qp={qp}:psy-rd=0:psy-rdoq=0:log-level=none:info=0"


def hevc_baseline(volume: Volume, qp: int) -> Baseline:
    """Compress a volume with HEVC (ITU-T H.265, format range extension Main 12) and decompress it.

    HU from -1024 to 3071 are the 4096 values of a sample; others are clipped. The encoder is x265
    with the preset medium at a constant quantizer, without optimization for visual quality.

    Args:
        volume: Original volume.
        qp: Quantizer parameter, 0 (best) to 51.

    Raises:
        ConfigError: If PyAV or its x265 encoder is not installed, or ``qp`` is out of range.
        InputError: If slices have fewer than 32 rows or columns.
    """
    av = import_codec("av", "HEVC", "hevc")
    if not 0 <= qp <= HIGHEST_QP:
        raise ConfigError(f"the quantizer of HEVC is 0 to {HIGHEST_QP}, got {qp}")
    hu = axial_slices(volume)
    if min(hu.shape[1:]) < _LEAST_SIDE:
        raise InputError(
            f"HEVC needs slices of at least {_LEAST_SIDE} x {_LEAST_SIDE} voxels, "
            f"got {hu.shape[1]} x {hu.shape[2]}"
        )
    samples = (hu.clip(LOWEST_HU, HIGHEST_HU) - LOWEST_HU).astype(np.uint16)
    packets = _encode(av, samples, qp)
    decoded = _decode(av, packets).astype(np.int32) + LOWEST_HU
    return Baseline("hevc", from_axial_slices(decoded, volume), None, 8 * sum(map(len, packets)))


def _encode(av: ModuleType, samples: NDArray[np.uint16], qp: int) -> list[bytes]:
    try:
        encoder = av.CodecContext.create("libx265", "w")
    except av.FFmpegError as error:
        raise ConfigError(
            "the installed PyAV has no x265 encoder", "pip install --force-reinstall av"
        ) from error
    encoder.height, encoder.width = samples.shape[1:]
    encoder.pix_fmt = _FORMAT
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"preset": "medium", "x265-params": _OPTIONS.format(qp=qp)}
    packets: list[bytes] = []
    for time, image in enumerate(samples):
        frame = av.VideoFrame.from_ndarray(image, format=_FORMAT)
        frame.pts = time
        packets += map(bytes, encoder.encode(frame))
    return packets + [bytes(packet) for packet in encoder.encode(None)]


def _decode(av: ModuleType, packets: Iterable[bytes]) -> NDArray[np.uint16]:
    decoder = av.CodecContext.create("hevc", "r")
    frames: list[Any] = []
    for packet in packets:
        frames += decoder.decode(av.Packet(packet))
    frames += decoder.decode(None)
    return np.stack([frame.to_ndarray() for frame in frames])
