"""Headers with separate data files, written by ITK."""

import pytest
import SimpleITK

from ct_vae.errors import InputError
from ct_vae.io import read_volume
from tests.io._samples import ct_voxels
from tests.io.mha_nrrd._itk import itk_image


def write_itk(path, compressed=False):
    """Write a header and its data file as ITK does, and return the data file."""
    SimpleITK.WriteImage(itk_image(ct_voxels()), str(path), compressed)
    (data,) = (file for file in path.parent.iterdir() if file != path)
    return data


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_volume(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message
