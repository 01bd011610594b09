"""Section ``training``: losses, optimizer, schedule and output of a run."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ct_vae.config.loss import ObjectiveConfig

PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
_VALIDATION_METRIC = re.compile(r"val_(rmse_hu|psnr_db|ssim)_(full|soft_tissue)")


class TrainingConfig(ObjectiveConfig):
    """Options of training; all durations and intervals are in samples (patches seen)."""

    output_dir: str | None = None
    """Folder of the run; null means `runs/<name of the configuration>`."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Random seed of initial weights, patches, augmentation and posterior noise."""

    samples: PositiveInt = 100_000
    """Total number of training samples."""

    stop_after: PositiveInt | None = None
    """Number of samples after which the run ends early; the learning rate schedule and the data
    order are still those of `samples`. null means no early end."""

    batch_size: PositiveInt = 2
    """Total batch size over all ranks, in patches."""

    micro_batch_size: PositiveInt | None = None
    """Maximum number of patches per forward pass; gradients are accumulated over the batch. null
    means the whole batch of a rank. It changes memory and time, but no result apart from rounding
    and dropout."""

    workers: Annotated[int, Field(ge=0)] | None = None
    """Number of data loading processes per rank; 0 loads data in the main process. null means one
    less than the CPUs of the rank, at most 16, if the model is on a GPU, and 0 on a CPU and for
    data sets given in Python. Results do not depend on it."""

    augment_on_device: bool | None = None
    """Apply `data.augment` on the device of the model instead of in the data loading processes,
    which then only cut voxels. null means on GPUs. Noise differs between both; everything else is
    equal up to rounding. Not for `data.resize_to` and data sets given in Python."""

    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Precision of the networks; `auto` is bf16 on GPUs that support it, else fp32. `fp32` switches
    TensorFloat-32 off, `tf32` allows it. Losses, weights and optimizer state are always float32."""

    compile: bool = False
    """Compile the blocks of the autoencoder with `torch.compile`, which takes minutes at the start
    and makes steps faster on GPUs. Needs a C++ compiler, and Triton on a GPU. Results differ by
    rounding, and by the masks of dropout."""

    patch_size: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=3)] | None = None
    """Size of a training patch in voxels along each axis, multiples of the downsampling factor;
    null means 64, rounded up to a multiple."""

    foreground_share: Share = 0.8
    """Fraction of patches that are centered on a voxel inside the body."""

    reg_type: Literal["kl", "vq"] | None = None
    """Type of regularization; determined by `model.latent_type`, any other value is an error."""

    latent_noise: Annotated[float, Field(ge=0)] = 0.0
    """Noise added to the sampled latent before decoding, in latent units: the width of uniform
    noise, like that of quantization with this step, or the standard deviation of Gaussian noise.
    Needs `model.latent_type` kl."""

    latent_noise_type: Literal["uniform", "gaussian", "posterior"] = "uniform"
    """Distribution of `latent_noise`. `posterior` is uniform noise in each channel of which
    `latent_noise` is the standard deviation in those of the posterior, like that of storage with
    `--step`."""

    nested_channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = None
    """Numbers of latent channels, increasing, such as `[1, 2, 4]`. Each sample is decoded from the
    first c channels, c drawn from the list, and the others are set to 0, so that one model serves
    several rates. null means all channels. Needs `model.latent_type` kl."""

    trunk_from: str | None = None
    """Model whose residual blocks, and first convolution of the encoder, are taken to begin with,
    a folder or the name of a default model. The latent and all that leads to it start anew, so that
    models of several rates grow from one."""

    freeze: Literal["encoder"] | None = None
    """Part of the model that is not trained and keeps the weights of `model.ckpt_path`. With
    `encoder` only the decoder is trained, and existing latents stay valid."""

    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Peak learning rate of AdamW."""

    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """Decay rates of the first and second moments of AdamW."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW."""

    encoder_lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of all parts that determine the latent; defaults to `lr`."""

    decoder_lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of all parts after the latent; defaults to `lr`."""

    discriminator_lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the discriminator; defaults to `lr`."""

    schedule: Literal["constant", "cosine", "step", "exponential", "wsd"] = "cosine"
    """Learning rate schedule after warm-up: `constant`; `cosine` decays to 1 % of `lr`; `step` and
    `exponential` multiply by `lr_decay` every `lr_decay_samples`, at once or gradually; `wsd`
    (warm-up, stable, decay) is constant, then a cosine over the last `lr_decay_samples`."""

    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Decay factor of the schedules `step` and `exponential`."""

    lr_decay_samples: PositiveInt = 20_000
    """Number of samples per decay by `lr_decay`; with `wsd`, length of the final decay."""

    warmup_samples: Annotated[int, Field(ge=0)] = 1_000
    """Number of samples over which the learning rate rises linearly from 0."""

    grad_clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Maximum gradient norm; null means no clipping."""

    ema_samples: Annotated[int, Field(ge=0)] = 2_000
    """Half-life, in samples, of the exponential moving average (EMA) of the weights, which is
    validated and saved; limited to 5 % of the samples seen. 0 disables the average."""

    ema_decay: Decay | None = None
    """Decay of the weight average per step; replaces `ema_samples`. Kept for older files."""

    log_every: PositiveInt = 200
    """Number of samples between lines of `metrics.jsonl`."""

    save_every: PositiveInt = 20_000
    """Number of samples between validations; the model is saved after each."""

    checkpoint_every: PositiveInt | None = None
    """Number of samples between checkpoints for resuming; defaults to `save_every`."""

    best_by: str = "val_rmse_hu_full"
    """Validation metric that selects the best model. Lower is better, except for `val_psnr_...` and
    `val_ssim_...`."""

    patience: PositiveInt | None = None
    """Number of consecutive validations without improvement of `best_by` after which training
    stops; null disables early stopping."""

    most_skipped: PositiveInt = 10
    """Number of consecutive steps skipped for non-finite values after which the run stops with an
    error."""

    tracker: str | None = None
    """Experiment tracker that receives the metrics as well, such as `tensorboard`."""

    @property
    def ema_halflife(self) -> int:
        """Half-life of the weight average in samples; 0 means no average."""
        if self.ema_decay is None:
            return self.ema_samples
        if self.ema_decay == 0:
            return 0
        return max(1, round(self.batch_size * math.log(0.5) / math.log(self.ema_decay)))

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        if self.batch_size > self.samples:
            raise ValueError(f"batch_size {self.batch_size} exceeds samples {self.samples}")
        if not _VALIDATION_METRIC.fullmatch(self.best_by):
            raise ValueError(
                f"best_by {self.best_by!r} is not a validation metric such as val_rmse_hu_full, "
                "val_psnr_db_soft_tissue or val_ssim_full"
            )
        return self
