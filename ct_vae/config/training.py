"""Section ``training``: objective, optimiser, and the clock of a run."""

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
    """Every duration is counted in samples seen, the one clock of a run."""

    output_dir: str | None = None
    """Run folder; null means ``runs/<name of the configuration>``."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of initial weights, patches and posterior noise."""

    samples: PositiveInt = 100_000
    """Length of the run."""

    stop_after: PositiveInt | None = None
    """Samples after which the run ends, though learning rate and data are laid out for all of
    `samples`; null means that it ends with them."""

    batch_size: PositiveInt = 2
    """Patches per step, of all ranks together."""

    micro_batch_size: PositiveInt | None = None
    """Most patches that go through a network at once, the rest waits its turn; null means all that
    a rank has. It changes memory and time, and results only as far as a term looks at a batch."""

    workers: Annotated[int, Field(ge=0)] = 0
    """Processes per rank that prepare patches; 0 does it in the process that trains. Results do not
    depend on it."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Numbers in which networks compute; `auto` is bf16 on GPUs that have it, else fp32. Losses,
    weights and moments are float32 in any case."""

    patch_size: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=3)] | None = None
    """Sides of a training patch in voxels, multiples of the model's factor; null means about 64."""

    foreground_share: Share = 0.8
    """Share of patches that are centred on a voxel of the body."""

    reg_type: Literal["kl", "vq"] | None = None
    """Follows from ``model.latent_type``; a contradiction is refused."""

    trunk_from: str | None = None
    """Model whose residual blocks, and first convolution of the encoder, are taken to begin with,
    a folder or the name of a default model. The latent and all that leads to it start anew, so that
    models of several rates grow from one."""

    freeze: Literal["encoder"] | None = None
    """Part of the model that keeps the weights of ``model.ckpt_path``: with `encoder` only the
    decoder is trained, and latents made before stay valid."""

    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Highest learning rate of AdamW."""

    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """Decay of AdamW's moments."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""

    discriminator_lr: Annotated[float, Field(gt=0)] | None = None
    """Highest learning rate of the discriminator; null means `lr`."""

    schedule: Literal["constant", "cosine", "step", "exponential", "wsd"] = "cosine"
    """Learning rate after warm-up: constant, a half cosine down to a hundredth of `lr`, times
    `lr_decay` at once (`step`) or little by little (`exponential`) every `lr_decay_samples`, or
    constant with the half cosine over the last `lr_decay_samples` (`wsd`, warm-up-stable-decay)."""

    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Factor of the schedules `step` and `exponential`."""

    lr_decay_samples: PositiveInt = 20_000
    """Samples over which `lr_decay` acts once; with `wsd`, length of the final decay."""

    warmup_samples: Annotated[int, Field(ge=0)] = 1_000
    """Samples over which the learning rate rises from zero."""

    grad_clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest norm of the gradient; null leaves it alone."""

    ema_samples: Annotated[int, Field(ge=0)] = 2_000
    """Half-life in samples of the averaged weights, which are validated and saved, at most a
    twentieth of the samples seen; 0 saves the weights as they are."""

    ema_decay: Decay | None = None
    """Decay per step of the averaged weights, in place of `ema_samples`; kept for older files."""

    log_every: PositiveInt = 200
    """Samples between lines of ``metrics.jsonl``."""

    save_every: PositiveInt = 20_000
    """Samples between validations, each followed by saving the model."""

    checkpoint_every: PositiveInt | None = None
    """Samples between states from which a run can be resumed; null means as often as `save_every`.
    """

    best_by: str = "val_rmse_hu_full"
    """Validation metric by which the best model is chosen; lower is better, but for `val_psnr_...`
    and `val_ssim_...`."""

    patience: PositiveInt | None = None
    """Validations in a row without a better `best_by` after which the run ends; null means never.
    """

    most_skipped: PositiveInt = 10
    """Steps in a row that may be left out for not being finite before the run stops."""

    tracker: str | None = None
    """Where metrics go besides ``metrics.jsonl``, such as ``tensorboard``."""

    @property
    def ema_halflife(self) -> int:
        """Half-life in samples of the averaged weights; 0 means that nothing is averaged."""
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
                f"best_by {self.best_by!r} is no metric of validation, such as val_rmse_hu_full, "
                "val_psnr_db_soft_tissue or val_ssim_full"
            )
        return self
