"""The autoencoder of `AutoencoderKL` with a volume of codes as its latent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from ct_vae.config.codes import QuantizerKind
from ct_vae.models.choices import Choices, refuse_unknown
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder, refuse_double
from ct_vae.models.quantizers.choice import make_quantizer
from ct_vae.models.shape import shape_of


class VQVAE(QuantizedAutoencoder):
    """Encoder and decoder of `AutoencoderKL` around a quantiser (van den Oord et al. 2017).

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: Channels of the image.
        out_channels: Channels of the reconstruction.
        resolution: Side for which `describe` reports sizes, a multiple of the factor.
        base_ch: Channels of the first convolution, and the unit of ``ch_mult``.
        ch_mult: Channels of each level in units of ``base_ch``.
        down_channels: Channels of each level as they are, instead of ``ch_mult``.
        num_res_blocks: Residual blocks per level of the encoder.
        attn_resolutions: Downsample factors at which every block is followed by attention.
        mid_attn: Whether the middle has attention.
        z_channels: Channels that leave the encoder and enter the decoder; ``None`` means those
            of a code, since fewer would leave part of the codes' space empty.
        double_z: Must be false: there are no log-variances.
        embed_dim: Width of a code: 8 for ``ema``, the number of levels for ``fsq``, the number of
            bits for ``lfq``, 16 by default.
        norm_groups: Groups of every normalisation.
        tanh_out: Whether the output goes through a hyperbolic tangent.
        dropout: Of every residual block.
        codebook_size: Number of codes: 8192 for ``ema``, follows for the others.
        ckpt_path: Weights to load; without it a warning says that the weights are random.
        quantizer: ``ema`` (learnt codebook), ``fsq`` (finite scalar) or ``lfq`` (lookup-free).
        levels: Of ``fsq``; (8, 8, 8, 5, 5, 5) by default.
        codebook_decay: Of the moving averages of ``ema``, per step.
        normalize_codes: Whether ``ema`` compares directions only.
        choices: See `ct_vae.models.choices.Choices`.

    Raises:
        ConfigError: If the numbers do not fit together.
        WeightsError: If the weights do not fit the model.
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
        *,
        quantizer: QuantizerKind = "ema",
        levels: Sequence[int] | None = None,
        codebook_decay: float = 0.99,
        normalize_codes: bool = False,
        **choices: Unpack[Choices],
    ) -> None:
        refuse_unknown(VQVAE, choices)
        refuse_double(double_z)
        shape = shape_of(
            spatial_dims,
            base_ch,
            ch_mult,
            down_channels,
            num_res_blocks,
            attn_resolutions,
            mid_attn,
            norm_groups,
            dropout,
            choices,
        )
        codes = make_quantizer(
            quantizer, embed_dim, codebook_size, levels, codebook_decay, normalize_codes
        )
        ends = in_channels, z_channels, out_channels
        super().__init__(shape, codes, ends, resolution, tanh_out)
        self._start(ckpt_path)
