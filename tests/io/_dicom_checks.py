"""What tests of DICOM series ask again and again."""

import numpy as np
import pytest
import SimpleITK

from ct_vae.errors import CtVaeError
from ct_vae.grid import Grid
from ct_vae.io import read_volume, scan_series
from tests.io._series import assert_nothing_identifying, hounsfield, make_series


def refusal(path, options=None):
    """Why a path is refused."""
    with pytest.raises(CtVaeError) as caught:
        read_volume(path, options)
    return str(caught.value)


def quiet_refusal(path, options=None):
    """The same of a synthetic series, nothing identifying of which may be told."""
    told = refusal(path, options)
    assert_nothing_identifying(told)
    return told


def verdicts(path):
    return [(s.number, s.slices, s.verdict) for s in scan_series(path)]


def changed(change, n=8):
    """A synthetic series whose slices went through ``change(index, dataset)``."""
    slices = make_series(n)
    for k, dataset in enumerate(slices):
        change(k, dataset)
    return slices


def plane(k):
    """HU of a slice of a synthetic series, row by row."""
    return hounsfield()[:, :, k].T.astype(np.int64)


def read_by_itk(folder):
    """Voxels and grid as SimpleITK has them."""
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(names)
    image = reader.Execute()
    grid = Grid.from_lps(
        image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    )
    return SimpleITK.GetArrayFromImage(image).transpose(), grid
