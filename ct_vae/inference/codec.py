"""Volumes to latents and back with one model: the door that everything else goes through."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ct_vae.config.default_models import find_model
from ct_vae.errors import ConfigError, InputError
from ct_vae.inference.device import HOST, memory_budget, memory_errors, peak_memory_mb, pick_device
from ct_vae.inference.execution_plan import Half, Passage, plan_passage
from ct_vae.inference.latent_moments import LatentMoments
from ct_vae.inference.tiling import Method, Tiling
from ct_vae.inference.volume_adapter import VolumeNetwork
from ct_vae.io import volume_sha256
from ct_vae.latent import (
    GridRecord,
    Latent,
    LatentRecord,
    LatentStatistics,
    ModelRecord,
    RunRecord,
    SourceRecord,
)
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.model_folder import load_model_folder
from ct_vae.models.posterior import DiagonalGaussian
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.preprocess.build import build_preprocessor
from ct_vae.preprocess.pipeline import ModelInput, Preprocessor, restore
from ct_vae.volume import Volume

# Codes are stored as uint16 up to this size of the codebook.
_UINT16_CODES = 2**16


class Codec:
    """Encodes CT volumes with one model and decodes what it has encoded.

    Args:
        model: Its mode is set to evaluation; it stays on its device.
        preprocessor: From HU to model units, the same as in training.
        identity: Name and digest of the weights, written into every latent.
        tiling: How volumes are cut unless a call says otherwise.
        tell: Takes one line about each plan, before any work.

    Attributes:
        beside: Bytes of host memory that others may take while a volume goes through.
        fallback: ``"cpu"`` sends what the device's memory does not hold through the CPU.
        warn: Takes a line about everything that was done in another way than planned.
    """

    def __init__(
        self,
        model: Autoencoder,
        preprocessor: Preprocessor,
        identity: ModelRecord,
        tiling: Tiling | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.network = VolumeNetwork(model.eval())
        self.preprocessor = preprocessor
        self.identity = identity
        self.tiling = tiling or Tiling()
        self.tell = tell
        self.beside = 0
        self.fallback: Literal["cpu"] | None = None
        self.warn: Callable[[str], None] = lambda _: None

    @memory_errors()
    @torch.inference_mode()
    def encode(
        self,
        volume: Volume,
        tiling: Method | None = None,
        sample: bool = False,
        seed: int | None = None,
    ) -> Latent:
        """Encode a volume to posterior means, to one sample, or to codes.

        Args:
            volume: In HU.
            tiling: Overrides the codec's own method.
            sample: Draw from the posterior instead of taking its mean.
            seed: Of the draw; needed with ``sample``.

        Returns:
            ``(C, X, Y, Z)`` float32, unscaled, with its grid and record; of a model with codes
            ``(X, Y, Z)`` integers.

        Raises:
            ConfigError: If sampling has no seed, if a model with codes is asked for a sample, or
                if the memory does not hold one tile or the thinnest slabs.
            InputError: If the memory does not hold the volume.
        """
        started = time.perf_counter()
        if sample != (seed is not None):
            raise ConfigError("a sample needs a seed and a mean takes none", "give both or neither")
        if sample and isinstance(self.network.model, QuantizedAutoencoder):
            raise ConfigError("this model has codes and no posterior to draw from", "ask for none")
        prepared = self.preprocessor(volume, self.network.factor)
        x, y, z = prepared.tensor.shape[2:]
        # Formed once for the whole volume, and only then drawn from or quantized.
        features, passage = self._pass("encode", tiling, (x, y, z), prepared.tensor)
        array = self._latent_of(features, seed)
        record = self._record(volume, prepared, passage, array, seed)
        run = self._run(time.perf_counter() - started)
        return Latent(array, record.latent_grid(), record.model_copy(update={"run": run}))

    @memory_errors()
    @torch.inference_mode()
    def decode(self, latent: Latent, tiling: Method | None = None) -> Volume:
        """Decode a latent to float32 HU on the grid of its source.

        Raises:
            InputError: If another model made the latent, or if its record is inconsistent.
            ConfigError: If the memory does not hold one tile or the thinnest slabs.
        """
        record = latent.record
        if not record.model.encodes_as(self.identity):
            raise InputError(
                f"the latent was made by model {record.model.name!r} "
                f"({record.model.sha256[:12]}), not by {self.identity.name!r} "
                f"({self.identity.sha256[:12]})",
                "decode it with the model that encoded it",
            )
        values = self._values_of(latent)
        if values.shape[1] != self.network.model.latent_channels:
            raise InputError(
                f"the latent has {values.shape[1]} channels, "
                f"the model {self.network.model.latent_channels}"
            )
        units, _ = self._pass("decode", tiling, record.padded_grid().shape, values)
        return restore(units[0, 0].float(), record.preprocess, record.source.grid.grid())

    def reconstruct(self, volume: Volume, tiling: Method | None = None) -> Volume:
        """Encode and decode."""
        return self.decode(self.encode(volume, tiling), tiling)

    def repeats(self, record: LatentRecord, seed: int | None) -> bool:
        """Whether encoding the source of ``record`` with this seed would do the same again."""
        same = record.model.sha256 == self.identity.sha256 and record.seed == seed
        if not same or record.tiling.method != self.tiling.method:
            return False
        # How thick slabs are depends on the moment and changes nothing; tiles change the values.
        if self.tiling.method != "blend":
            return True
        planned = self._plan("encode", None, record.padded_grid().shape).record
        return (record.tiling.tile, record.tiling.overlap) == (planned.tile, planned.overlap)

    def _latent_of(self, features: torch.Tensor, seed: int | None) -> np.ndarray:
        """``(C, x, y, z)`` float32, or ``(x, y, z)`` codes, of ``(1, features, x, y, z)``."""
        model = self.network.model
        if isinstance(model, QuantizedAutoencoder):
            indices: np.ndarray = (
                model.quantize(features.to(self.network.device)).indices[0].cpu().numpy()
            )
            return indices.astype(np.uint16 if model.codebook_size <= _UINT16_CODES else np.int32)
        posterior = DiagonalGaussian(features)
        draw = None if seed is None else torch.Generator().manual_seed(seed)
        latent = posterior.mode() if draw is None else posterior.sample(draw)
        values: np.ndarray = latent[0].float().numpy()
        return values

    def _values_of(self, latent: Latent) -> torch.Tensor:
        """``(1, C, x, y, z)`` float32 of a latent, whatever its kind."""
        model = self.network.model
        quantized = isinstance(model, QuantizedAutoencoder)
        if quantized != (latent.record.kind == "codes"):
            raise InputError(
                f"a latent of kind {latent.record.kind!r} is not what "
                f"{'a model with codes' if quantized else 'a model without codes'} makes"
            )
        if isinstance(model, QuantizedAutoencoder):
            indices = torch.from_numpy(latent.array.astype(np.int64))[None]
            return model.quantizer.decode_indices(indices.to(self.network.device)).cpu()
        return torch.from_numpy(np.ascontiguousarray(latent.array, dtype=np.float32))[None]

    def host_room(self) -> int:
        """Bytes of host memory that may still be taken."""
        on_cpu = self.network.device.type == "cpu"
        return memory_budget(HOST, self.tiling.max_memory_gb if on_cpu else None)

    def _pass(
        self, half: Half, method: Method | None, sides: tuple[int, int, int], x: torch.Tensor
    ) -> tuple[torch.Tensor, Passage]:
        """The result of one half, and how it came about."""
        passage = self._plan(half, method, sides)
        result = None
        try:
            result = passage(x)
        except torch.OutOfMemoryError:
            if self.fallback is None:
                raise
        # Outside the handler, which would hold on to what the failed pass had.
        if result is None:
            with self.network.moved_to(HOST):
                passage = self._plan(half, method, sides)
                what = f"{half}: the device's memory did not hold the volume; the CPU took it"
                passage.warnings.append(what)
                result = passage(x)
        for warning in passage.warnings:
            self.warn(f"warning: {warning}")
        return result, passage

    def _plan(self, half: Half, method: Method | None, sides: tuple[int, int, int]) -> Passage:
        tiling = self.tiling if method is None else replace(self.tiling, method=method)
        passage = plan_passage(self.network, half, tiling, sides, self.beside)
        if self.tell is not None:
            self.tell(passage.describe())
        return passage

    def _record(
        self,
        volume: Volume,
        prepared: ModelInput,
        passage: Passage,
        array: np.ndarray,
        seed: int | None,
    ) -> LatentRecord:
        model = self.network.model
        return LatentRecord(
            model=self.identity,
            source=SourceRecord(
                sha256=volume_sha256(volume),
                grid=GridRecord.of(volume.grid),
                dtype=str(volume.source.get("dtype", volume.voxels.dtype)),
                format=str(volume.source.get("format", "memory")),
            ),
            preprocess=prepared.record,
            factor=self.network.factor,
            kind=_kind(array, seed),
            seed=seed,
            spatial_dims=2 if model.spatial_dims == 2 else 3,
            image_channels=model.in_channels,
            tiling=passage.record,
            scaling_factor=model.scaling_factor,
            statistics=_statistics(array),
            warnings=(*volume.warnings, *passage.warnings),
        )

    def _run(self, seconds: float) -> RunRecord:
        packages = ("ct_vae", "torch", "monai", "nibabel")
        return RunRecord(
            versions={name: version(name) for name in packages}
            | {"python": platform.python_version()},
            device=self.network.device.type,
            seconds=round(seconds, 3),
            peak_memory_mb=round(peak_memory_mb(self.network.device), 1),
        )


def load_codec(
    model_folder: str | Path, device: str | None = None, tiling: Tiling | None = None
) -> Codec:
    """Load a trained model for encoding and decoding.

    Args:
        model_folder: A model folder or run folder, or the name of a default model such as
            ``ct-f4``.
        device: Such as ``cpu`` or ``cuda:0``; ``None`` takes a GPU if there is one.
        tiling: How volumes are cut; ``None`` means as the model's configuration says.

    Raises:
        WeightsError: If the folder is incomplete, damaged or of a newer format.
        ConfigError: If the device does not exist.
    """
    where = pick_device(device)
    loaded = load_model_folder(find_model(model_folder))
    steps, defaults = loaded.config.preprocess, loaded.config.inference
    if tiling is None:
        tiling = Tiling(defaults.tiling, defaults.tile, defaults.overlap, defaults.max_memory_gb)
    identity = ModelRecord(
        name=loaded.config.name,
        sha256=loaded.sha256,
        latent_type=loaded.config.model.latent_type,
        encoder_sha256=loaded.encoder_sha256,
    )
    return Codec(loaded.model.to(where), build_preprocessor(steps), identity, tiling)


def _kind(array: np.ndarray, seed: int | None) -> Literal["mean", "sample", "codes"]:
    if array.ndim == 3:
        return "codes"
    return "mean" if seed is None else "sample"


def _statistics(array: np.ndarray) -> LatentStatistics | None:
    # The mean of code numbers says nothing.
    if array.ndim == 3:
        return None
    moments = LatentMoments.of(array.reshape(len(array), -1))
    return LatentStatistics(mean=moments.mean, std=moments.std)
