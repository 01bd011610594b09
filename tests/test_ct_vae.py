"""The package itself: its version and what can be imported from it."""

from importlib.metadata import version

import pytest

import ct_vae
from ct_vae.inference.codec import load_codec


def test_the_version_is_that_of_the_installed_package():
    assert ct_vae.__version__ == version("ct_vae")


def test_load_codec_is_that_of_the_codec():
    assert ct_vae.load_codec is load_codec
    with pytest.raises(AttributeError, match="no attribute 'load_model'"):
        _ = ct_vae.load_model
