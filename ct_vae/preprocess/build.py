"""Build the preprocessing from a configuration."""

from __future__ import annotations

from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.preprocess.pipeline import Preprocessor


def build_preprocessor(config: PreprocessConfig) -> Preprocessor:
    """Build the preprocessor of a configuration."""
    return Preprocessor(config.axcodes, config.spacing_mm, config.window_hu, config.model_range)
