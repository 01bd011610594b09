"""A quantised autoencoder after MAGVIT-v2, for volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from ct_vae.config.codes import QuantizerKind
from ct_vae.errors import ConfigError
from ct_vae.models.choices import Choices, refuse_unknown
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder, refuse_double
from ct_vae.models.quantizers.choice import make_quantizer
from ct_vae.models.shape import DownsampleMode, Shape, shape_of

# Choices of the other kinds, and the values that say nothing.
_FOREIGN = {"upsample_mode": None, "patch_size": 1, "linear_skip": False, "refine_channels": 0}


class MagvitVQVAE(QuantizedAutoencoder):
    """Residual blocks without offsets, a decoder that the latent modulates, subvoxel upsampling.

    After Yu et al. 2023 (MAGVIT-v2, section 3.2 and appendix A), with two changes for volumes:
    every level's normalisation takes a scale and a shift for each latent voxel, not pooled ones,
    and the network is symmetric unless an axis is named along which it is causal.

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
        mid_attn: Whether the middle has attention; must be false in a causal network.
        z_channels: Channels that leave the encoder and enter the decoder; ``None`` means those
            of a code.
        double_z: Must be false: there are no log-variances.
        embed_dim: Width of a code, as in `VQVAE`.
        norm_groups: Groups of every normalisation.
        tanh_out: Whether the output goes through a hyperbolic tangent.
        dropout: Of every residual block.
        codebook_size: Number of codes, as in `VQVAE`.
        ckpt_path: Weights to load; without it a warning says that the weights are random.
        quantizer: ``fsq`` (finite scalar), ``lfq`` (lookup-free) or ``ema`` (learnt codebook).
        levels: Of ``fsq``; (8, 8, 8, 5, 5, 5) by default.
        codebook_decay: Of the moving averages of ``ema``, per step.
        normalize_codes: Whether ``ema`` compares directions only.
        causal_axis: Axis (0, 1, 2 for X, Y, Z) along which a latent voxel sees no voxel after
            its own block; needs ``norm`` ``rms`` or ``layer`` and no attention.
        downsample_mode: ``conv`` strides, ``blur`` blurs before voxels are dropped.
        choices: See `ct_vae.models.choices.Choices`; ``upsample_mode``, ``patch_size``,
            ``linear_skip`` and ``refine_channels`` are not among them here.

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
        quantizer: QuantizerKind = "fsq",
        levels: Sequence[int] | None = None,
        codebook_decay: float = 0.99,
        normalize_codes: bool = False,
        causal_axis: int | None = None,
        downsample_mode: DownsampleMode = "conv",
        **choices: Unpack[Choices],
    ) -> None:
        refuse_unknown(MagvitVQVAE, choices)
        _refuse_foreign(choices)
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
        shaped = _magvit(shape, causal_axis, downsample_mode)
        ends = in_channels, z_channels, out_channels
        super().__init__(shaped, codes, ends, resolution, tanh_out)
        self._start(ckpt_path)


def _refuse_foreign(choices: Choices) -> None:
    for name, value in choices.items():
        if name in _FOREIGN and value != _FOREIGN[name]:
            raise ConfigError(
                f"{name} {value!r} is not for MagvitVQVAE, which halves sides level by level and "
                "moves channels to subvoxels",
                "leave it out, or take AutoencoderKL or VQVAE",
            )


def _magvit(shape: Shape, causal_axis: int | None, downsample_mode: DownsampleMode) -> Shape:
    if downsample_mode not in ("conv", "blur"):
        raise ConfigError(f"downsample_mode is conv or blur, got {downsample_mode!r}")
    return replace(
        shape,
        style=replace(shape.style, bias=False, causal_axis=causal_axis),
        head_kernel=1,
        downsample_mode=downsample_mode,
        upsample_mode="subvoxel",
        adaptive=True,
    )
