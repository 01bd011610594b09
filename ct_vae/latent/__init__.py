"""Latent volume with its grid and the record needed to decode it to the source's geometry."""

from ct_vae.latent.latent import Latent
from ct_vae.latent.record import (
    CODED_MAGIC,
    RECORD_FORMAT,
    RECORD_VERSION,
    GridRecord,
    LatentRecord,
    Layout,
    ModelRecord,
    PreprocessRecord,
    RunRecord,
    SourceRecord,
    TilingRecord,
)
from ct_vae.latent.record_part import Sha256, Sides
from ct_vae.latent.stored_values import LatentStatistics, QuantizationRecord, StepResponse

__all__ = [
    "CODED_MAGIC",
    "RECORD_FORMAT",
    "RECORD_VERSION",
    "GridRecord",
    "Latent",
    "LatentRecord",
    "LatentStatistics",
    "Layout",
    "ModelRecord",
    "PreprocessRecord",
    "QuantizationRecord",
    "RunRecord",
    "Sha256",
    "Sides",
    "SourceRecord",
    "StepResponse",
    "TilingRecord",
]
