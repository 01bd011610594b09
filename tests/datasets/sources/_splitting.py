"""Splits of data sections, made or refused."""

import pytest

from ct_vae.config.data import DataConfig
from ct_vae.datasets.sources.split import build_split
from ct_vae.errors import ConfigError


def split(**data):
    """The split of a section ``data``."""
    return build_split(DataConfig(**data))


def keys(cases):
    return [case.key for case in cases]


def refusal(**data):
    """The message of a refused section."""
    with pytest.raises(ConfigError) as caught:
        split(**data)
    return str(caught.value)
