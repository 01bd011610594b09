"""MONAI Bundles, workflows and transforms, and export of single-tensor networks."""

from ct_vae.bundle.cases import CaseDataset, CaseRunner
from ct_vae.bundle.network import DecoderNet, EncoderNet, ReconstructionNet, build_part
from ct_vae.bundle.pythonic_workflow import CaseWorkflow, TrainingWorkflow
from ct_vae.bundle.training import Trainer, run_config, training_patches, validation_volumes
from ct_vae.bundle.transforms import DecodeLatentd, EncodeCTd

__all__ = [
    "CaseDataset",
    "CaseRunner",
    "CaseWorkflow",
    "DecodeLatentd",
    "DecoderNet",
    "EncodeCTd",
    "EncoderNet",
    "ReconstructionNet",
    "Trainer",
    "TrainingWorkflow",
    "build_part",
    "run_config",
    "training_patches",
    "validation_volumes",
]
