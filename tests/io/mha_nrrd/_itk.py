"""Images of ITK as voxels and grids."""

import SimpleITK

from ct_vae.grid import Grid
from tests.io._samples import AFFINE


def itk_voxels(image):
    return SimpleITK.GetArrayFromImage(image).transpose()


def itk_grid(image):
    return Grid.from_lps(
        image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    )


def itk_image(voxels, affine=AFFINE):
    image = SimpleITK.GetImageFromArray(voxels.transpose())
    spacing, origin, direction = Grid(voxels.shape, affine).to_lps()
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image
