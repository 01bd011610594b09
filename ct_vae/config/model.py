"""Section ``model``: the architecture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ct_vae.config.base import Section

PositiveInt = Annotated[int, Field(gt=0)]
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=8)]


class ModelConfig(Section):
    """Numbers of an autoencoder, with the names and defaults of its constructor."""

    latent_type: Literal["kl"] = "kl"
    """Kind of latent: ``kl`` is continuous."""

    spatial_dims: Literal[1, 2, 3] = 3
    """Dimensions of the image."""

    in_channels: PositiveInt = 1
    """Channels of the image."""

    out_channels: PositiveInt = 1
    """Channels of the reconstruction."""

    resolution: PositiveInt = 256
    """Side for which feature sizes are reported; any multiple of the factor runs."""

    base_ch: PositiveInt = 128
    """Channels of the first convolution, and the unit of `ch_mult`."""

    ch_mult: Widths = (1, 2, 4, 4)
    """Channels of each level in units of `base_ch`; sides halve between levels."""

    down_channels: Widths | None = None
    """Channels of each level as they are, instead of `ch_mult`."""

    num_res_blocks: PositiveInt = 2
    """Residual blocks per level of the encoder; the decoder has one more."""

    attn_resolutions: tuple[PositiveInt, ...] = ()
    """Downsample factors at which every block is followed by attention."""

    mid_attn: bool = True
    """Whether the middle has attention."""

    z_channels: PositiveInt = 4
    """Channels that leave the encoder and enter the decoder."""

    double_z: bool = True
    """Whether the encoder gives twice `z_channels`."""

    embed_dim: PositiveInt = 4
    """Channels of the latent."""

    norm_groups: PositiveInt | None = None
    """Groups of every normalisation; null means the largest divisor of the width up to 32."""

    tanh_out: bool = False
    """Whether the output goes through a hyperbolic tangent."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout of every residual block."""

    codebook_size: PositiveInt = 8192
    """Ignored by this kind of latent."""

    ckpt_path: str | None = None
    """Weights to begin from, a safetensors file or a model folder."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first."""
        return self.down_channels or tuple(self.base_ch * m for m in self.ch_mult)

    @property
    def factor(self) -> tuple[int, ...]:
        """Voxels per latent voxel along each axis."""
        return (2 ** (len(self.widths) - 1),) * self.spatial_dims

    @property
    def latent_channels(self) -> int:
        """Numbers per latent voxel."""
        return self.embed_dim

    @property
    def reg_type(self) -> Literal["kl"]:
        """The regularisation that this kind of latent needs."""
        return "kl"

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        factors = [2**level for level in range(len(self.widths))]
        strange = sorted(set(self.attn_resolutions) - set(factors))
        if strange:
            raise ValueError(
                f"attn_resolutions {strange} do not occur, the factors of the levels are {factors}"
            )
        self._check_widths()
        if self.resolution % factors[-1]:
            raise ValueError(
                f"resolution {self.resolution} is not a multiple of the factor {factors[-1]}; it "
                "is only the side for which sizes are reported, choose any multiple"
            )
        return self

    def _check_widths(self) -> None:
        # A resolved configuration holds every key: the default beside down_channels says nothing.
        given = self.ch_mult != type(self).model_fields["ch_mult"].default
        if self.down_channels and given and len(self.down_channels) != len(self.ch_mult):
            raise ValueError(
                f"down_channels has {len(self.down_channels)} levels and ch_mult "
                f"{len(self.ch_mult)}; leave one out, or give both as many entries"
            )
        groups = self.norm_groups or 1
        uneven = [w for w in (self.stem, *self.widths) if w % groups]
        if uneven:
            raise ValueError(f"norm_groups {groups} does not divide the widths {uneven}")

    @property
    def stem(self) -> int:
        """Channels of the first convolution."""
        return self.widths[0] if self.down_channels else self.base_ch
