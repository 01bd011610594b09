import base64
import io
import re

import numpy as np
from matplotlib.image import imread

from ct_vae.grid import Grid
from ct_vae.volume import Volume
from tests._small import ct_volume


def test_the_summary_tells_size_place_and_values():
    voxels = np.array([-1000, 0, 70, 2000, -5, 3], np.int16).reshape(1, 2, 3)
    grid = Grid((1, 2, 3), np.diag([-0.5, 0.75, 2, 1]))
    outside = np.array([1, 0, 0, 0, 0, 0], bool).reshape(1, 2, 3)
    volume = Volume(voxels, grid, outside, warnings=("a", "b"), derived=True)
    assert repr(volume) == (
        "Volume(1 x 2 x 3, 0.5 x 0.75 x 2 mm, LAS, -1000 to 2000 HU, int16, "
        "17% outside the field of view, derived, warnings: 2)"
    )
    assert repr(Volume(voxels, grid)) == (
        "Volume(1 x 2 x 3, 0.5 x 0.75 x 2 mm, LAS, -1000 to 2000 HU, int16)"
    )


def test_notebooks_show_three_slices_with_a_caption():
    volume = ct_volume()
    html = volume._repr_html_()
    found = re.search(r"base64,([^\"]+)\"", html)
    assert base64.b64decode(found[1]) == volume._repr_png_()
    assert repr(volume) in html
    image = imread(io.BytesIO(volume._repr_png_()))
    # Tissue is gray inside each of the three slices, air is black between them.
    thirds = np.array_split(image[..., 0], 3, axis=1)
    assert all(((third > 0.3) & (third < 0.7)).mean() > 0.05 for third in thirds)
