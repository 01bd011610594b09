"""Exact streaming as a MONAI inferer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import nn

from ct_vae.errors import ConfigError
from ct_vae.inference.execution_plan import plan_execution
from ct_vae.inference.tiling import Method, Tiling
from ct_vae.inference.volume_adapter import VolumeAdapter
from ct_vae.models.autoencoder import Autoencoder


class SplitNetwork(Protocol):
    """Autoencoder whose halves can run separately, such as the networks of a bundle."""

    model: Autoencoder
    image_channels: int

    @property
    def halves(self) -> tuple[str, ...]:
        """Halves of the network: ``encode``, ``decode``, or both."""

    def entering(self, image: torch.Tensor) -> torch.Tensor:
        """Convert an image to the encoder's input, ``(1, 1, X, Y, Z)`` in model units."""

    def between(self, features: torch.Tensor) -> torch.Tensor:
        """Convert the encoder's output to a latent."""

    def leaving(self, decoded: torch.Tensor) -> torch.Tensor:
        """Convert the decoder's output to an image."""


class ExactInferer(Inferer):  # type: ignore[misc]
    """Exact inference of volumes in slabs, equal to the whole volume (see docs/architecture.md).

    Args:
        tiling: Tiling method: ``exact`` (the default), ``blend`` or ``whole``.
        tile: Side of a tile in voxels, for ``blend``; defaults to 96.
        overlap: Fraction of a tile that overlaps with the next one, for ``blend``; defaults to
            0.25.
        max_memory_gb: Memory limit in GiB of the process, or of the GPU; ``None`` (the default)
            allows three fifths of the free memory.

    Examples:
        >>> import torch
        >>> from ct_vae.bundle import EncoderNet
        >>> from ct_vae.inference.exact_inferer import ExactInferer
        >>> from ct_vae.models import AutoencoderKL
        >>> model = AutoencoderKL(base_ch=8, ch_mult=(1, 2), num_res_blocks=1, mid_attn=False)
        >>> latent = ExactInferer()(torch.zeros(1, 1, 16, 16, 16), EncoderNet(model))
        >>> latent.shape
        torch.Size([1, 4, 8, 8, 8])
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
        """Run the network on images ``(B, 1, X, Y, Z)`` or latents ``(B, C, x, y, z)``, one by one.

        Args:
            inputs: Tensor or MetaTensor; sizes of images are multiples of the factor.
            network: `ct_vae.bundle.ReconstructionNet`, ``EncoderNet`` or ``DecoderNet`` for images
                of one channel. It runs in evaluation mode.
            args: Not supported.
            kwargs: Not supported.

        Returns:
            Result on the device of ``inputs``. For a MetaTensor, a MetaTensor with the affine of
            the result.

        Raises:
            ConfigError: If the network cannot be split into halves, or if there are further
                arguments.
            InputError: If sizes are not multiples of the factor.
        """
        if args or kwargs or not hasattr(network, "halves"):
            raise ConfigError(
                "an exact inferer takes inputs and a network of ct_vae.bundle, nothing more",
                "wrap the model: ct_vae.bundle.ReconstructionNet(model)",
            )
        split = cast(SplitNetwork, network)
        if split.image_channels != 1:
            raise ConfigError(
                f"an exact inferer supports images of one channel, not {split.image_channels}",
                "let the network take HU, or call it without an inferer",
            )
        # Weights converted to channels last in inference mode could not be trained any more.
        through = VolumeAdapter(split.model)
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        with _evaluating(network), torch.inference_mode():
            parts = [self._one(sample[None], split, through) for sample in plain.cpu()]
        result = torch.cat(parts).to(plain.device, copy=True)
        return _placed(result, inputs) if isinstance(inputs, MetaTensor) else result

    def _one(
        self, sample: torch.Tensor, network: SplitNetwork, through: VolumeAdapter
    ) -> torch.Tensor:
        values = sample
        if "encode" in network.halves:
            units = network.entering(values)[:, :1]
            x, y, z = units.shape[2:]
            plan = plan_execution(through, "encode", self.tiling, (x, y, z))
            values = network.between(plan(units).to(through.device)).cpu()
        if "decode" in network.halves:
            x, y, z = (n * f for n, f in zip(values.shape[2:], through.factor, strict=True))
            plan = plan_execution(through, "decode", self.tiling, (x, y, z))
            values = network.leaving(plan(values))
        return values


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Set evaluation mode within the context and restore the mode of every module afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _placed(result: torch.Tensor, source: MetaTensor) -> MetaTensor:
    """Attach the affine of the result, whose voxels are at the centers of their blocks."""
    ratio = torch.tensor(
        [a / b for a, b in zip(source.shape[2:], result.shape[2:], strict=True)],
        dtype=torch.float64,
    )
    step = torch.eye(4, dtype=torch.float64)
    step[:3, :3], step[:3, 3] = torch.diag(ratio), (ratio - 1) / 2
    affine = source.affine.to(torch.float64) @ step
    meta = {name: value for name, value in source.meta.items() if name != "affine"}
    return MetaTensor(result, affine=affine, meta=meta)
