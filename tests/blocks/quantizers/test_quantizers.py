import pytest

from ct_vae.blocks import quantizers


def test_every_public_name_can_be_imported():
    assert all(hasattr(quantizers, name) for name in quantizers.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Codebook'"):
        _ = quantizers.Codebook
