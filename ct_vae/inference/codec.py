"""Codec: encoding of volumes to latents and decoding of latents to volumes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ct_vae.inference.device import (
    HOST,
    memory_budget,
    memory_errors,
    pick_device,
    reset_peak_memory,
)
from ct_vae.inference.execution_plan import ExecutionPlan, Half, PlanRunner, plan_execution
from ct_vae.inference.latent_record import (
    decoding_record,
    latent_statistics,
    run_record,
    source_record,
)
from ct_vae.inference.latent_values import (
    check_model,
    check_sampling,
    decoder_input,
    latent_values,
    posterior_std,
)
from ct_vae.inference.plan_fallback import Result, run_plan
from ct_vae.inference.precision import Precision
from ct_vae.inference.step_response import measure_step_response
from ct_vae.inference.tiling import Method, Tiling
from ct_vae.inference.volume_adapter import VolumeAdapter
from ct_vae.latent import Latent, LatentRecord, ModelRecord
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.hub import load_model
from ct_vae.preprocess.pipeline import Preprocessor, build_preprocessor
from ct_vae.preprocess.restoration import Restoration
from ct_vae.progress import report_stage
from ct_vae.volume import DECODING, Volume


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
            ConfigError: If ``sample``, ``seed`` and ``posterior`` contradict each other or the
                model, or if not even one tile or the thinnest slabs fit into memory.
            InputError: If the volume does not fit into memory.
        """
        started = time.perf_counter()
        reset_peak_memory(self.network.device)
        model, device = self.network.model, self.network.device
        check_sampling(model, sample, seed, posterior)
        prepared = self.preprocessor(volume, self.network.factor)
        x, y, z = prepared.tensor.shape[2:]
        # Sampling and quantization act on the features of the whole volume.
        report_stage("encoding", prod(prepared.tensor.shape))
        features, plan = self._run_plan(
            partial(self._plan, "encode", tiling, (x, y, z)), lambda plan: plan(prepared.tensor)
        )
        array = latent_values(model, features, seed, device)
        statistics = None if array.ndim == 3 else latent_statistics(array, features)
        std = posterior_std(features) if posterior else None
        del features
        change = None
        if response and statistics is not None:
            scale = self.preprocessor.scale.hu_per_unit
            change = measure_step_response(
                self._decode_crop, prepared.tensor[0, 0], array, statistics, scale
            )
        record = LatentRecord(
            model=self.identity,
            source=source_record(volume),
            preprocess=prepared.record,
            factor=self.network.factor,
            kind="codes" if array.ndim == 3 else "mean" if seed is None else "sample",
            seed=seed,
            spatial_dims=2 if model.spatial_dims == 2 else 3,
            image_channels=model.in_channels,
            tiling=plan.record,
            precision=plan.precision,
            scaling_factor=model.scaling_factor,
            statistics=statistics,
            posterior=posterior,
            step_response=change,
            warnings=(*volume.warnings, *plan.warnings),
            run=run_record(device, time.perf_counter() - started),
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
            whole_hu: If true, round to whole HU as in files, which takes half the memory.

        Returns:
            Volume in float32, or in int16 for whole HU.

        Raises:
            InputError: If another model made the latent, or if its record is inconsistent.
            ConfigError: If not even one tile or the thinnest slabs fit into memory.
        """
        record = latent.record
        check_model(record.model, self.identity)
        values = decoder_input(self.network.model, latent, self.network.device)
        sides = record.padded_grid().shape
        restoration = Restoration(record.preprocess, record.source.grid.grid(), whole_hu)
        report_stage("decoding", prod(sides))
        _, plan = self._run_plan(
            partial(self._plan, "decode", tiling, sides, restoration.unallocated_bytes),
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
        made = (record.model.sha256, record.seed, record.tiling.method, record.precision)
        if made != (self.identity.sha256, seed, self.tiling.method, self.precision):
            return False
        # The thickness of slabs does not affect the result; the size of tiles does.
        if self.tiling.method != "blend":
            return True
        planned = self._plan("encode", None, record.padded_grid().shape).record
        return (record.tiling.tile, record.tiling.overlap) == (planned.tile, planned.overlap)

    def available_host_bytes(self) -> int:
        """Return the host memory in bytes that is still available."""
        on_cpu = self.network.device.type == "cpu"
        return memory_budget(HOST, self.tiling.max_memory_gb if on_cpu else None)

    def _run_plan(
        self, make: Callable[[], ExecutionPlan], run: Callable[[ExecutionPlan], Result]
    ) -> tuple[Result, ExecutionPlan]:
        """Make and run a plan, on the CPU if allowed and needed; return its result and the plan."""
        return run_plan(self.network, make, run, self.precision, self.fallback == "cpu", self.warn)

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
    return Codec(loaded.model.to(pick_device(device)), build_preprocessor(steps), identity, tiling)
