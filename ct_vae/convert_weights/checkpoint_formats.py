"""Supported checkpoint formats."""

from __future__ import annotations

from ct_vae.convert_weights.checkpoint_format import CheckpointFormat, Form
from ct_vae.convert_weights.compvis import CompVis
from ct_vae.convert_weights.diffusers import Diffusers
from ct_vae.convert_weights.monai import Maisi, Monai

FORMATS: dict[Form, CheckpointFormat] = {
    fmt.form: fmt for fmt in (CompVis(), Diffusers(), Monai(), Maisi())
}
