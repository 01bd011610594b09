"""Encoding and decoding on a GPU compared with MONAI's windows and MAISI's splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from measuring import (
    FACTOR,
    LATENT_CHANNELS,
    OVERLAP,
    Setting,
    bench_train,
    copy_rates,
    measured,
    operations_per_voxel,
    product_rates,
    relative_error,
)
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import AutoencoderKL as MonaiAutoencoderKL

from ct_vae.convert_weights import import_weights
from ct_vae.grid import Grid
from ct_vae.inference.blending import Blending
from ct_vae.inference.codec import load_codec
from ct_vae.inference.execution_plan import ExecutionPlan, plan_execution
from ct_vae.inference.precision import check_precision, computing_in
from ct_vae.inference.tiling import Tiling
from ct_vae.inference.volume_adapter import VolumeAdapter
from ct_vae.latent import TilingRecord
from ct_vae.models import AutoencoderKL
from ct_vae.volume import Volume

Figures = dict[str, Any]


@dataclass
class Bench:
    """Rows of inference, with what one of them leaves to the next ones.

    Attributes:
        setting: What is measured.
        rate: Measured rate of bf16 products in FLOP/s; 0 until it is known.
        references: Exact results in fp32 by half.
        kept: Results of the rows before the reference of their half, by row.
    """

    setting: Setting
    rate: float = 0.0
    references: dict[str, torch.Tensor] = field(default_factory=dict)
    kept: dict[str, torch.Tensor] = field(default_factory=dict)

    def machine(self) -> Figures:
        """Measure products and copies, and check convolutions in bf16."""
        device, toy = self.setting.device, self.setting.toy
        found: Figures = {"tflops": product_rates(device, 256 if toy else 8192)}
        self.rate = found["tflops"]["bf16"] * 1e12
        found["gb_per_s"] = copy_rates(device, 2**20 if toy else 2**30)
        if self.setting.fast == "bf16":
            check_precision("bf16", device)
            found["bf16_convolution"] = "agrees with float64"
        return found

    def exact(self, half: str, precision: str, limit: float | None = None) -> Figures:
        """Stream a volume through MONAI's weights."""
        return self._streamed(self._imported(), half, precision, limit)

    def without_group_norm(self, half: str, precision: str, limit: float | None) -> Figures:
        """Stream a volume through a network of the same widths that normalizes each voxel."""
        width = self.setting.width
        torch.manual_seed(0)
        model = AutoencoderKL(
            down_channels=(width, 2 * width, 4 * width),
            num_res_blocks=2,
            norm="rms",
            mid_attn=False,
        )
        return self._streamed(self._adapter(model), half, precision, limit, keep=False)

    def blended(self, half: str, precision: str) -> Figures:
        """Blend the tiles of the windows of MONAI."""
        network, encodes = self._imported(), half == "encode"
        overlap = [int(OVERLAP * n) // FACTOR * FACTOR for n in self.setting.roi]
        tile = TilingRecord(method="blend", tile=self.setting.roi, overlap=tuple(overlap))
        step = 1 if encodes else FACTOR
        x, y, z = (n // step for n in self.setting.roi)
        a, b, c = (n // step for n in overlap)
        device = network.device
        blending = Blending((x, y, z), (a, b, c), 1, device, device)
        plan = ExecutionPlan(network, half, tile, blending=blending)
        return self._run(f"blend {precision}", half, precision, plan)

    def windows(self, half: str, precision: str) -> Figures:
        """Encode or decode the sliding windows of MONAI, with the volume on the GPU."""
        model, device = self._monai(MonaiAutoencoderKL), self.setting.device
        shrink = 1 if half == "encode" else FACTOR
        inferer = SlidingWindowInferer(
            [n // shrink for n in self.setting.roi], overlap=OVERLAP, mode="gaussian"
        )
        network = self._half(model, half)
        name = f"MONAI windows {precision}"
        return self._run(
            name, half, precision, lambda given: inferer(given.to(device), network).cpu()
        )

    def splits(self, half: str, splits: int) -> Figures:
        """Encode or decode the whole volume with the splits of MAISI, in its float16 on a GPU."""
        device = self.setting.device
        halved = device.type == "cuda"
        model = self._monai(AutoencoderKlMaisi, num_splits=splits, norm_float16=halved)
        network = self._half(model, half)

        def run(given: torch.Tensor) -> torch.Tensor:
            with torch.autocast(device.type, torch.float16, enabled=halved):
                return network(given.to(device)).cpu()

        return self._run("MAISI splits", half, "fp32", run, keep=False)

    def shelf(self, precision: str) -> Figures:
        """Encode and decode a CT with the default model, from HU to HU."""
        codec = load_codec("ct-f4", str(self.setting.device))
        codec.precision = precision
        values = np.random.default_rng(0).integers(-1000, 1000, self.setting.sides, np.int16)
        volume = Volume(values, Grid(self.setting.sides, np.diag([0.8, 0.8, 0.8, 1.0])))
        device = self.setting.device
        latents = []

        def encode() -> torch.Tensor:
            latents[:] = [codec.encode(volume)]
            return torch.from_numpy(latents[0].array)

        encoded, forth = measured(device, encode)
        decoded, back = measured(
            device, lambda: torch.from_numpy(codec.decode(latents[0], whole_hu=True).voxels)
        )
        found: Figures = {"encode": forth, "decode": back}
        for half, result in (("encode", encoded), ("decode", decoded)):
            reference = self.references.setdefault(f"shelf {half}", result)
            found[half]["error"] = relative_error(result[None], reference[None], device)
            found[half]["error_of"] = "fp32" if precision == "fp32" else "the first of these rows"
        return found

    def _streamed(
        self,
        network: VolumeAdapter,
        half: str,
        precision: str,
        limit: float | None,
        keep: bool = True,
    ) -> Figures:
        tiling = Tiling(max_memory_gb=limit)
        plans: list[ExecutionPlan] = []

        def run(given: torch.Tensor) -> torch.Tensor:
            plans[:] = [plan_execution(network, half, tiling, self.setting.sides)]
            plans[0].precision = precision
            return plans[0](given)

        name = f"exact {precision}" + (f" within {limit:g} GiB" if limit else "")
        found = self._run(name, half, precision, run, keep)
        (plan,) = plans
        assert plan.stream_plan is not None
        return found | {
            "planned_mb": plan.stream_plan.bytes / 2**20,
            "plan": plan.describe(),
            "warnings": plan.warnings,
        }

    def _run(
        self,
        name: str,
        half: str,
        precision: str,
        run: Callable[[torch.Tensor], torch.Tensor],
        keep: bool = True,
    ) -> Figures:
        device, given = self.setting.device, self.setting.given(half)
        with torch.inference_mode(), computing_in(precision, device):
            result, found = measured(device, lambda: run(given))
        count = operations_per_voxel(self.setting.width, half) * float(np.prod(self.setting.sides))
        if self.rate:
            found["share"] = count / found["seconds"] / self.rate
        # Of moments, the means, which is what MONAI's encoder gives.
        result = result[:, :LATENT_CHANNELS].float()
        return found | (self._errors(name, half, result) if keep else {})

    def _errors(self, name: str, half: str, result: torch.Tensor) -> Figures:
        """Return the error to the reference, or make a result the reference of its half."""
        device = self.setting.device
        if half in self.references:
            return {"error": relative_error(result, self.references[half], device)}
        if name != "exact fp32":
            self.kept[f"{half}, {name}"] = result
            return {}
        self.references[half] = result
        mine = [row for row in self.kept if row.startswith(half)]
        return {
            "error": 0.0,
            "errors": {row: relative_error(self.kept.pop(row), result, device) for row in mine},
        }

    def _imported(self) -> VolumeAdapter:
        arguments = bench_train.numbers(self.setting.width)
        torch.manual_seed(0)
        state = MonaiAutoencoderKL(**arguments).state_dict()
        return self._adapter(import_weights(state, arguments))

    def _adapter(self, model: Any) -> VolumeAdapter:
        return VolumeAdapter(model.eval().to(self.setting.device))

    def _monai(self, kind: Any, **more: Any) -> Any:
        arguments = bench_train.numbers(self.setting.width)
        if kind is AutoencoderKlMaisi:
            arguments["num_channels"] = arguments.pop("channels")
        torch.manual_seed(0)
        return kind(**arguments, **more).eval().to(self.setting.device)

    @staticmethod
    def _half(model: Any, half: str) -> Callable[[torch.Tensor], torch.Tensor]:
        return (lambda x: model.encode(x)[0]) if half == "encode" else model.decode
