"""Supported checkpoint formats."""

from __future__ import annotations

from ct_vae.convert.checkpoint_format import CheckpointFormat, Form
from ct_vae.convert.compvis import CompVis
from ct_vae.convert.diffusers import Diffusers
from ct_vae.convert.monai import Maisi, Monai

FORMATS: dict[Form, CheckpointFormat] = {
    fmt.form: fmt for fmt in (CompVis(), Diffusers(), Monai(), Maisi())
}
