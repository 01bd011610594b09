"""Conversion of weights from and to CompVis, diffusers, MONAI and MAISI."""

from ct_vae.convert_weights.checkpoint_format import Form
from ct_vae.convert_weights.exporting import export_weights
from ct_vae.convert_weights.importing import Imported, import_weights, interpret

__all__ = ["Form", "Imported", "export_weights", "import_weights", "interpret"]
