"""Section ``training``: objective, optimiser, and the clock of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ct_vae.config.base import Section

PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class TrainingConfig(Section):
    """Every duration is counted in samples seen, the one clock of a run."""

    output_dir: str | None = None
    """Run folder; null means ``runs/<name of the configuration>``."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of initial weights, patches and posterior noise."""

    samples: PositiveInt = 100_000
    """Length of the run."""

    batch_size: PositiveInt = 2
    """Patches per step."""

    patch_size: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=3)] | None = None
    """Sides of a training patch in voxels, multiples of the model's factor; null means about 64."""

    foreground_share: Share = 0.8
    """Share of patches that are centred on a voxel of the body."""

    recon_type: Literal["l1", "mse"] = "l1"
    """Reconstruction loss, a mean over voxels in model units."""

    reg_type: Literal["kl", "vq"] | None = None
    """Follows from ``model.latent_type``; a contradiction is refused."""

    kl_weight: Annotated[float, Field(ge=0)] = 1e-4
    """Weight of the KL term, which is a mean per latent element; ignored with codes."""

    commitment_weight: Annotated[float, Field(ge=0)] = 0.25
    """Weight of the distance between latents and their codes; ignored by `kl`."""

    entropy_weight: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the entropy term of a lookup-free quantiser; ignored by all others."""

    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Highest learning rate of AdamW."""

    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """Decay of AdamW's moments."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""

    schedule: Literal["constant", "cosine"] = "cosine"
    """Learning rate after warm-up: constant, or a half cosine down to a hundredth of `lr`."""

    warmup_samples: Annotated[int, Field(ge=0)] = 1_000
    """Samples over which the learning rate rises from zero."""

    grad_clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest norm of the gradient; null leaves it alone."""

    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay per step of the averaged weights, which are the ones saved; 0 switches them off."""

    log_every: PositiveInt = 200
    """Samples between lines of ``metrics.jsonl``."""

    save_every: PositiveInt = 20_000
    """Samples between validations, each followed by saving the model."""

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        if self.batch_size > self.samples:
            raise ValueError(f"batch_size {self.batch_size} exceeds samples {self.samples}")
        return self
