import pytest

from ct_vae.io import write_volume
from tests._small import ct_volume


@pytest.fixture
def inputs(tmp_path):
    """Two good volumes, one of them in a folder below."""
    write_volume(ct_volume(), tmp_path / "in" / "a.nii.gz")
    write_volume(ct_volume(seed=1), tmp_path / "in" / "below" / "b.c.nii")
    return tmp_path / "in"
