"""Codec: encoding of volumes to latents and decoding of latents to volumes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.inference.device import (
    HOST,
    memory_budget,
    memory_errors,
    pick_device,
    reset_peak_memory,
)
from ct_vae.inference.execution_plan import (
    ExecutionPlan,
    Half,
    PlanRunner,
    plan_execution,
)
from ct_vae.inference.latent_record import (
    decoding_record,
    latent_statistics,
    run_record,
    source_record,
)
from ct_vae.inference.precision import Precision, computing_in
from ct_vae.inference.step_response import measure_step_response
from ct_vae.inference.tiling import Method, Tiling
from ct_vae.inference.volume_adapter import VolumeAdapter
from ct_vae.latent import Latent, LatentRecord, LatentStatistics, ModelRecord, StepResponse
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.hub import load_model
from ct_vae.models.posterior import DiagonalGaussian
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.preprocess.pipeline import Preprocessor, build_preprocessor
from ct_vae.preprocess.restoration import Restoration
from ct_vae.progress import report_stage
from ct_vae.volume import DECODING, Volume

Result = TypeVar("Result")
# Largest codebook whose codes are stored as uint16.
_UINT16_CODES = 2**16


class Codec:
    """Encodes CT volumes with a model and decodes its latents.

    Args:
        model: Autoencoder; it is set to evaluation mode and stays on its device.
        preprocessor: Preprocessing from HU to model units, the same as in training.
        identity: Name and digest of the weights, stored in every latent.
        tiling: Default tiling of volumes; optional.
        tell: Callback that receives one line about each execution plan; optional.

    Attributes:
        reserved_bytes: Host memory in bytes that other work may allocate during a call.
        fallback: ``"cpu"`` repeats on the CPU what does not fit into the memory of the device;
            ``None`` (the default) raises an error instead.
        precision: Number format of convolutions and products: ``fp32`` (the default on every
            device), ``tf32`` or ``bf16``, see `computing_in`.
        processes: Number of processes that compute each volume together; 1 by default.
        runner: Runs a plan on these processes; ``None`` by default.
        warn: Callback that receives one line for each deviation from the plan.

    Examples:
        >>> from ct_vae import load_codec
        >>> from ct_vae.phantoms.make_phantom import make_phantom
        >>> volume = make_phantom("head", seed=0, spacing_mm=8.0)
        >>> codec = load_codec("ct-f4", device="cpu")
        >>> latent = codec.encode(volume)
        >>> latent.array.shape, latent.grid.spacing_mm
        ((4, 7, 8, 7), (32.0, 32.0, 32.0))
        >>> reconstruction = codec.decode(latent)
        >>> reconstruction.grid == volume.grid
        True
    """

    def __init__(
        self,
        model: Autoencoder,
        preprocessor: Preprocessor,
        identity: ModelRecord,
        tiling: Tiling | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.network = VolumeAdapter(model.eval())
        self.preprocessor = preprocessor
        self.identity = identity
        self.tiling = tiling or Tiling()
        self.tell = tell
        self.reserved_bytes = 0
        self.fallback: Literal["cpu"] | None = None
        self.precision: Precision = "fp32"
        self.processes = 1
        self.runner: PlanRunner | None = None
        self.warn: Callable[[str], None] = lambda _: None

    def __repr__(self) -> str:
        low, high = self.preprocessor.scale.window_hu
        return (
            f"Codec({self.identity.name} {self.identity.sha256[:8]}, {self.network.model}, "
            f"{low:g} to {high:g} HU, tiling {self.tiling.method}, on {self.network.device})"
        )

    @memory_errors()
    @torch.inference_mode()
    def encode(
        self,
        volume: Volume,
        tiling: Method | None = None,
        sample: bool = False,
        seed: int | None = None,
        *,
        posterior: bool = False,
        response: bool = False,
    ) -> Latent:
        """Encode a volume to posterior means, to a sample, or to codes.

        Args:
            volume: Volume in HU.
            tiling: Tiling method; defaults to that of the codec.
            sample: If true, sample the posterior instead of returning its mean.
            seed: Seed of the sample; required with ``sample``.
            posterior: If true, also return the standard deviations of the posterior.
            response: If true, measure on a crop how the reconstruction responds to rounding of the
                latent, so that storage can predict the rise of the RMSE. Ignored by models with
                codes.

        Returns:
            Latent with its grid and record: ``(C, X, Y, Z)`` float32, unscaled, or ``(X, Y, Z)``
            integers for a model with codes.

        Raises:
            ConfigError: If ``sample`` is set without a seed or the reverse, if ``sample`` and
                ``posterior`` are both set or either is requested of a model with codes, or if not
                even one tile or the thinnest slabs fit into memory.
            InputError: If the volume does not fit into memory.
        """
        started = time.perf_counter()
        reset_peak_memory(self.network.device)
        if sample != (seed is not None):
            raise ConfigError("sample and seed must be given together", "give both or neither")
        if sample and posterior:
            raise ConfigError("a sample is stored without its posterior", "leave one of them out")
        if (sample or posterior) and isinstance(self.network.model, QuantizedAutoencoder):
            asked = "posterior" if posterior else "sample"
            raise ConfigError(
                f"a model with codes has no posterior to {'store' if posterior else 'sample'}",
                f"leave {asked} out",
            )
        prepared = self.preprocessor(volume, self.network.factor)
        x, y, z = prepared.tensor.shape[2:]
        # Sampling and quantization act on the features of the whole volume.
        report_stage("encoding", prod(prepared.tensor.shape))
        features, plan = self._run_plan(
            lambda: self._plan("encode", tiling, (x, y, z)), lambda plan: plan(prepared.tensor)
        )
        array = self._latent_of(features, seed)
        statistics = None if array.ndim == 3 else latent_statistics(array, features)
        std = DiagonalGaussian(features).std[0].float().numpy() if posterior else None
        del features
        found = self._step_response(prepared.tensor[0, 0], array, statistics) if response else None
        record = LatentRecord(
            model=self.identity,
            source=source_record(volume),
            preprocess=prepared.record,
            factor=self.network.factor,
            kind="codes" if array.ndim == 3 else "mean" if seed is None else "sample",
            seed=seed,
            spatial_dims=2 if self.network.model.spatial_dims == 2 else 3,
            image_channels=self.network.model.in_channels,
            tiling=plan.record,
            precision=plan.precision,
            scaling_factor=self.network.model.scaling_factor,
            statistics=statistics,
            posterior=posterior,
            step_response=found,
            warnings=(*volume.warnings, *plan.warnings),
            run=run_record(self.network.device, time.perf_counter() - started),
        )
        return Latent(array, record.latent_grid(), record, std)

    @memory_errors()
    @torch.inference_mode()
    def decode(
        self, latent: Latent, tiling: Method | None = None, whole_hu: bool = False
    ) -> Volume:
        """Decode a latent to HU on the grid of its source volume.

        Args:
            latent: Latent of the same model.
            tiling: Tiling method; defaults to that of the codec.
            whole_hu: If true, round to whole HU as in files, which takes half the memory; defaults
                to false.

        Returns:
            Volume in float32, or in int16 for whole HU.

        Raises:
            InputError: If another model made the latent, or if its record is inconsistent.
            ConfigError: If not even one tile or the thinnest slabs fit into memory.
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
        sides = record.padded_grid().shape
        restoration = Restoration(record.preprocess, record.source.grid.grid(), whole_hu)
        report_stage("decoding", prod(sides))
        _, plan = self._run_plan(
            lambda: self._plan("decode", tiling, sides, restoration.unallocated_bytes),
            lambda plan: plan.run(values, lambda at, slab: restoration.write(at, slab[0, 0])),
        )
        facts = {DECODING: decoding_record(self.identity, plan.record, plan.precision)}
        return replace(restoration.volume(), source=facts)

    def reconstruct(
        self, volume: Volume, tiling: Method | None = None, whole_hu: bool = False
    ) -> Volume:
        """Encode and decode a volume."""
        return self.decode(self.encode(volume, tiling), tiling, whole_hu)

    def repeats(self, record: LatentRecord, seed: int | None) -> bool:
        """Return true if encoding the source of ``record`` again would give the same latent."""
        same = record.model.sha256 == self.identity.sha256 and record.seed == seed
        if not same or record.tiling.method != self.tiling.method:
            return False
        if record.precision != self.precision:
            return False
        # The thickness of slabs does not affect the result; the size of tiles does.
        if self.tiling.method != "blend":
            return True
        planned = self._plan("encode", None, record.padded_grid().shape).record
        return (record.tiling.tile, record.tiling.overlap) == (planned.tile, planned.overlap)

    def _latent_of(self, features: torch.Tensor, seed: int | None) -> np.ndarray:
        """Convert features ``(1, features, x, y, z)`` to a latent.

        Returns:
            Values ``(C, x, y, z)`` in float32, or codes ``(x, y, z)``.
        """
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
        """Convert a latent of either kind to values ``(1, C, x, y, z)`` in float32."""
        model = self.network.model
        quantized = isinstance(model, QuantizedAutoencoder)
        if quantized != (latent.record.kind == "codes"):
            raise InputError(
                f"a latent of kind {latent.record.kind!r} cannot be decoded by "
                f"{'a model with codes' if quantized else 'a model without codes'}"
            )
        if isinstance(model, QuantizedAutoencoder):
            indices = torch.from_numpy(latent.array.astype(np.int64))[None]
            return model.quantizer.decode_indices(indices.to(self.network.device)).cpu()
        return torch.from_numpy(np.ascontiguousarray(latent.array, dtype=np.float32))[None]

    def available_host_bytes(self) -> int:
        """Return the host memory in bytes that is still available."""
        on_cpu = self.network.device.type == "cpu"
        return memory_budget(HOST, self.tiling.max_memory_gb if on_cpu else None)

    def _run_plan(
        self, make: Callable[[], ExecutionPlan], run: Callable[[ExecutionPlan], Result]
    ) -> tuple[Result, ExecutionPlan]:
        """Make and run a plan, on the CPU if allowed and needed; return its result and the plan."""
        plan, failed = make(), False
        try:
            with computing_in(self.precision, self.network.device):
                result = run(plan)
        except torch.OutOfMemoryError:
            if self.fallback is None:
                raise
            failed = True
        # Not inside the handler, which keeps references to the tensors of the failed attempt.
        if failed:
            with self.network.moved_to(HOST):
                plan = make()
                plan.precision = "fp32"
                plan.warnings.append(
                    f"{plan.half}: the volume did not fit into the device's memory and ran on the "
                    "CPU"
                )
                with computing_in(plan.precision, HOST):
                    result = run(plan)
        for warning in plan.warnings:
            self.warn(f"warning: {warning}")
        return result, plan

    def _step_response(
        self, image: torch.Tensor, array: np.ndarray, statistics: LatentStatistics | None
    ) -> StepResponse | None:
        """Measure the response to rounding; latents of codes have none."""
        if statistics is None:
            return None
        scale = self.preprocessor.scale.hu_per_unit
        return measure_step_response(self._decode_crop, image, array, statistics, scale)

    def _decode_crop(self, crop: np.ndarray) -> torch.Tensor:
        """Decode a small latent ``(C, x, y, z)`` to an image ``(X, Y, Z)`` in model units."""
        x, y, z = (n * f for n, f in zip(crop.shape[1:], self.network.factor, strict=True))
        plan = plan_execution(self.network, "decode", self.tiling, (x, y, z), self.reserved_bytes)
        return plan(torch.from_numpy(crop)[None])[0, 0].float()

    def _plan(
        self,
        half: Half,
        method: Method | None,
        sides: tuple[int, int, int],
        result_bytes: int | None = None,
    ) -> ExecutionPlan:
        tiling = self.tiling if method is None else replace(self.tiling, method=method)
        plan = plan_execution(
            self.network, half, tiling, sides, self.reserved_bytes, result_bytes, self.processes
        )
        plan.precision, plan.runner = self.precision, self.runner
        if self.tell is not None:
            self.tell(plan.describe())
        return plan


def load_codec(
    model_folder: str | Path, device: str | None = None, tiling: Tiling | None = None
) -> Codec:
    """Load a trained model for encoding and decoding.

    Args:
        model_folder: Model folder, run folder, name of a default model such as ``ct-f4``, or
            address on the Hugging Face Hub such as ``hf://organization/name@revision``.
        device: Device such as ``cpu`` or ``cuda:0``; ``None`` (the default) uses a GPU if
            available.
        tiling: Tiling of volumes; defaults to that of the model's configuration.

    Raises:
        WeightsError: If the folder is incomplete, damaged or of a newer format.
        ConfigError: If the device does not exist.

    Examples:
        >>> from ct_vae import load_codec
        >>> codec = load_codec("ct-f4", device="cpu")
        >>> codec.network.factor, codec.preprocessor.scale.window_hu
        ((4, 4, 4), (-1024.0, 3071.0))
    """
    where = pick_device(device)
    loaded = load_model(model_folder)
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
