"""Other people's weights, in and out."""

from ct_vae.models.convert.exporting import export_weights
from ct_vae.models.convert.importing import Imported, import_weights, interpret
from ct_vae.models.convert.peer import Form

__all__ = ["Form", "Imported", "export_weights", "import_weights", "interpret"]
