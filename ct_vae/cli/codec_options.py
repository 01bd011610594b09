"""Options of the model that several commands share, and loading of a model with them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ct_vae.cli import options
from ct_vae.cli.option_groups import OptionGroup
from ct_vae.progress import report_stage

if TYPE_CHECKING:
    from ct_vae.inference.codec import Codec


@dataclass(frozen=True)
class CodecOptions:
    """Options that override how a model processes volumes; ``None`` keeps its configuration."""

    device: str | None
    tiling: Literal["exact", "blend", "whole"] | None
    tile: int | None
    overlap: float | None
    max_memory_gb: float | None
    verbose: bool = False
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    tile_batch: int | None = None

    def load(self, model: str | Path, fallback: Literal["cpu"] | None = None) -> Codec:
        """Load a model with these options.

        Processes started by torchrun use their own GPU by default.

        Args:
            model: Model folder, run folder, or name of a default model.
            fallback: Device for volumes that do not fit into GPU memory.

        Raises:
            ConfigError: If the device does not exist, or an option would have no effect.
            WeightsError: If the model folder is damaged.
        """
        report_stage("loading the model")
        from ct_vae.errors import ConfigError
        from ct_vae.inference.codec import load_codec
        from ct_vae.inference.device import device_of_process
        from ct_vae.inference.precision import check_precision
        from ct_vae.inference.tiling import Tiling
        from ct_vae.terminal import say

        codec = load_codec(model, self.device or device_of_process(os.environ))
        own = codec.tiling
        chosen = own.method if self.tiling is None else self.tiling
        of_tiles = {
            "--tile": self.tile,
            "--overlap": self.overlap,
            "--tile-batch": self.tile_batch,
        }
        given = [option for option, value in of_tiles.items() if value is not None]
        if chosen != "blend" and given:
            raise ConfigError(
                f"{', '.join(given)} would have no effect: the tiling is {chosen}, not blend",
                "add --tiling blend, or leave them out",
            )
        codec.tiling = Tiling(
            chosen,
            own.tile if self.tile is None else self.tile,
            own.overlap if self.overlap is None else self.overlap,
            own.max_memory_gb if self.max_memory_gb is None else self.max_memory_gb,
            self.tile_batch,
        )
        codec.tell = say if self.verbose else None
        codec.warn = say
        check_precision(self.precision, codec.network.device)
        codec.precision = self.precision
        codec.fallback = fallback
        return codec


CODEC_GROUP = OptionGroup(
    "codec_options",
    {
        "device": (options.Device, None),
        "tiling": (options.TilingMethod, None),
        "tile": (options.Tile, None),
        "overlap": (options.Overlap, None),
        "tile_batch": (options.TileBatch, None),
        "max_memory_gb": (options.MaxMemory, None),
        "verbose": (options.Verbose, False),
        "precision": (options.NumberFormat, "fp32"),
    },
    CodecOptions,
)
