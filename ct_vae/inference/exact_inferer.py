"""Exact streaming as an inferer of MONAI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import nn

from ct_vae.errors import ConfigError
from ct_vae.inference.execution_plan import plan_passage
from ct_vae.inference.tiling import Method, Tiling
from ct_vae.inference.volume_adapter import VolumeNetwork
from ct_vae.models.autoencoder import Autoencoder


class SplitNetwork(Protocol):
    """A way through an autoencoder that can be taken half by half, such as those of a bundle."""

    model: Autoencoder
    image_channels: int

    @property
    def halves(self) -> tuple[str, ...]:
        """``encode``, ``decode``, or both."""

    def entering(self, image: torch.Tensor) -> torch.Tensor:
        """What the encoder takes, ``(1, 1, X, Y, Z)`` in model units."""

    def between(self, features: torch.Tensor) -> torch.Tensor:
        """The latent, of what the encoder gives."""

    def leaving(self, decoded: torch.Tensor) -> torch.Tensor:
        """The image, of what the decoder gives."""


class ExactInferer(Inferer):  # type: ignore[misc]
    """Exact inference of volumes in slabs, equal to the whole volume (see docs/architecture.md).

    Args:
        tiling: ``exact``, ``blend`` or ``whole``.
        tile: With ``blend``: side of a tile in voxels.
        overlap: With ``blend``: share of a tile that the next one shares.
        max_memory_gb: Bound for the process, or for the GPU; ``None`` means three fifths of what
            is free.
    """

    def __init__(
        self,
        tiling: Method = "exact",
        tile: int = Tiling.tile,
        overlap: float = Tiling.overlap,
        max_memory_gb: float | None = None,
    ) -> None:
        super().__init__()
        self.tiling = Tiling(tiling, tile, overlap, max_memory_gb)

    def __call__(
        self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Run ``(B, 1, X, Y, Z)``, or a latent ``(B, C, x, y, z)``, sample by sample.

        Args:
            inputs: Sides of images are multiples of the factor. A MetaTensor gives a MetaTensor,
                whose affine is that of the result.
            network: `ct_vae.bundle.ReconstructionNet`, ``EncoderNet`` or ``DecoderNet``, of
                images of one channel. It computes as in evaluation.
            args: None.
            kwargs: None.

        Returns:
            On the device of ``inputs``.

        Raises:
            ConfigError: If the network cannot be taken half by half, or if there are arguments.
            InputError: If sides do not fit.
        """
        if args or kwargs or not hasattr(network, "halves"):
            raise ConfigError(
                "an exact inferer takes inputs and a network of ct_vae.bundle, nothing else",
                "wrap the model: ct_vae.bundle.ReconstructionNet(model)",
            )
        split = cast(SplitNetwork, network)
        if split.image_channels != 1:
            raise ConfigError(
                f"an exact inferer takes images of one channel, not of {split.image_channels}",
                "let the network take HU, or call it without an inferer",
            )
        # Weights that get their layout in inference mode could not be trained any more.
        through = VolumeNetwork(split.model)
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        with _evaluating(network), torch.inference_mode():
            parts = [self._one(sample[None], split, through) for sample in plain.cpu()]
        result = torch.cat(parts).to(plain.device, copy=True)
        return _placed(result, inputs) if isinstance(inputs, MetaTensor) else result

    def _one(
        self, sample: torch.Tensor, network: SplitNetwork, through: VolumeNetwork
    ) -> torch.Tensor:
        values = sample
        if "encode" in network.halves:
            units = network.entering(values)[:, :1]
            x, y, z = units.shape[2:]
            passage = plan_passage(through, "encode", self.tiling, (x, y, z))
            values = network.between(passage(units).to(through.device)).cpu()
        if "decode" in network.halves:
            x, y, z = (n * f for n, f in zip(values.shape[2:], through.factor, strict=True))
            passage = plan_passage(through, "decode", self.tiling, (x, y, z))
            values = network.leaving(passage(values))
        return values


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, after which every module is in its own again."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _placed(result: torch.Tensor, source: MetaTensor) -> MetaTensor:
    """The result where it lies: a coarser voxel at the center of its block."""
    ratio = torch.tensor(
        [a / b for a, b in zip(source.shape[2:], result.shape[2:], strict=True)],
        dtype=torch.float64,
    )
    step = torch.eye(4, dtype=torch.float64)
    step[:3, :3], step[:3, 3] = torch.diag(ratio), (ratio - 1) / 2
    affine = source.affine.to(torch.float64) @ step
    meta = {name: value for name, value in source.meta.items() if name != "affine"}
    return MetaTensor(result, affine=affine, meta=meta)
