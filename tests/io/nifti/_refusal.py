"""Files that readers refuse."""

import pytest

from ct_vae.errors import InputError
from ct_vae.io import read_volume


def refusal(folder, content, options=None, name="scan.nii.gz"):
    path = folder / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_volume(path, options)
    assert str(path) in caught.value.cause
    assert "\n" not in str(caught.value)
    return str(caught.value)
