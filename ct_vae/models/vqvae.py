"""Quantized autoencoder with the network of `AutoencoderKL`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from ct_vae.models.architecture_options import ArchitectureOptions, checked_architecture
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder


class VQVAE(QuantizedAutoencoder):
    """Quantized autoencoder: the network of `AutoencoderKL` with codes (van den Oord et al. 2017).

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3; defaults to 3.
        in_channels: Channels of the image.
        out_channels: Channels of the reconstruction.
        resolution: Side of the image for which `describe` reports sizes, a multiple of the factor.
        base_ch: Channels of the first convolution, and the unit of ``ch_mult``.
        ch_mult: Channels of each level in units of ``base_ch``.
        down_channels: Channels of each level, instead of ``ch_mult``; optional.
        num_res_blocks: Residual blocks per level of the encoder.
        attn_resolutions: Downsampling factors at which every residual block is followed by
            attention; defaults to none.
        mid_attn: Use attention in the middle stages; defaults to true.
        z_channels: Channels of the encoder's output and the decoder's input; defaults to those of a
            code, since fewer would restrict the latent to a subspace.
        double_z: Must be false, since there are no log-variances.
        embed_dim: Channels of a code; defaults to 8 for ``ema``, the number of levels for ``fsq``,
            and the number of bits for ``lfq``, 16 by default.
        norm_groups: Groups of every group normalization; optional.
        tanh_out: If true, apply a hyperbolic tangent to the output; defaults to false.
        dropout: Dropout probability in residual blocks.
        codebook_size: Number of codes; defaults to 8192 for ``ema`` and follows from the code for
            the others.
        ckpt_path: Weights to load; without it, weights are random and a warning is issued.
        options: Further arguments, see `ct_vae.models.architecture_options.ArchitectureOptions`.

    Raises:
        ConfigError: If arguments are invalid or contradict each other.
        WeightsError: If the weights do not match the model.

    Examples:
        >>> import torch
        >>> from ct_vae.models import VQVAE
        >>> model = VQVAE(
        ...     base_ch=8, ch_mult=(1, 2, 2), num_res_blocks=1, mid_attn=False, codebook_size=64
        ... ).eval()
        >>> quantized = model.encode(torch.zeros(1, 1, 16, 16, 16))
        >>> quantized.latent.shape, quantized.indices.shape
        (torch.Size([1, 8, 4, 4, 4]), torch.Size([1, 4, 4, 4]))
        >>> model.decode_indices(quantized.indices).shape
        torch.Size([1, 1, 16, 16, 16])
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the names are the interface that people have code against
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 1,
        resolution: int = 256,
        base_ch: int = 128,
        ch_mult: Sequence[int] = (1, 2, 4, 4),
        down_channels: Sequence[int] | None = None,
        num_res_blocks: int | Sequence[int] = 2,
        attn_resolutions: int | Sequence[int] = (),
        mid_attn: bool = True,
        z_channels: int | None = None,
        double_z: bool = False,
        embed_dim: int | None = None,
        norm_groups: int | None = None,
        tanh_out: bool = False,
        dropout: float = 0.0,
        codebook_size: int | None = None,
        ckpt_path: str | Path | None = None,
        **options: Unpack[ArchitectureOptions],
    ) -> None:
        named = {
            "spatial_dims": spatial_dims,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "resolution": resolution,
            "base_ch": base_ch,
            "ch_mult": ch_mult,
            "down_channels": down_channels,
            "num_res_blocks": num_res_blocks,
            "attn_resolutions": attn_resolutions,
            "mid_attn": mid_attn,
            "z_channels": z_channels,
            "double_z": double_z,
            "embed_dim": embed_dim,
            "norm_groups": norm_groups,
            "tanh_out": tanh_out,
            "dropout": dropout,
            "codebook_size": codebook_size,
        }
        super().__init__(checked_architecture(VQVAE, "vq", named, options))
        self._start(ckpt_path)
