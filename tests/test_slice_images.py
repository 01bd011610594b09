import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread

from ct_vae.grid import Grid
from ct_vae.slice_images import draw_slice, preview_png, scale_bar_mm, slice_images
from tests._small import ct_volume


def marked(axcodes: str):
    """Voxels and grid of a body with one bright corner at the patient's right, front and top."""
    voxels = np.zeros((10, 12, 14), np.int16)
    voxels[6:, 8:, 9:] = 1000
    grid = Grid(voxels.shape, np.diag([1.0, 2.0, 3.0, 1.0]))
    return grid.reorient_array(voxels, axcodes), grid.reorient(axcodes)


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PIR"])
def test_planes_follow_the_radiological_convention(axcodes):
    axial, coronal, sagittal = slice_images(*marked(axcodes), (8, 10, 12))
    # Rows run upward; the bright corner is right, so on the image's left, and up.
    for image, shape, ratio, width in (
        (axial, (12, 10), 2.0, 10.0),
        (coronal, (14, 10), 3.0, 10.0),
        (sagittal, (14, 12), 1.5, 24.0),
    ):
        assert image.pixels.shape == shape
        assert image.aspect == pytest.approx(ratio)
        assert image.width_mm == pytest.approx(width)
        assert image.pixels[-1, 0] == 1000
        assert image.pixels[0, 0] == image.pixels[-1, -1] == image.pixels[0, -1] == 0


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PIR"])
def test_letters_name_the_sides_of_the_patient(axcodes):
    """The bright corner is right, front and top; the letters on its sides are R, A and S."""
    for image in slice_images(*marked(axcodes), (8, 10, 12)):
        axis = Figure().subplots()
        draw_slice(axis, image, "gray", (0, 1000))
        letters = {text.get_text(): text.get_position() for text in axis.texts}
        left = next(name for name, (x, y) in letters.items() if x < 0.1 and y == 0.5)
        top = next(name for name, (x, y) in letters.items() if x == 0.5 and y > 0.9)
        assert left == ("A" if image.plane == "sagittal" else "R")
        assert top == ("A" if image.plane == "axial" else "S")


def test_a_copy_does_not_keep_the_volume():
    image = slice_images(np.zeros((4, 4, 4), np.float32), Grid((4, 4, 4), np.eye(4)))[0]
    assert image.copy().pixels.base is None
    assert image.copy().width_mm == image.width_mm


def test_the_scale_bar_has_the_length_that_it_says():
    for image in slice_images(*marked("RAS")):
        axis = Figure().subplots()
        draw_slice(axis, image, "gray", (0, 1))
        (bar,) = axis.lines
        share = np.ptp(bar.get_xdata())
        mm = scale_bar_mm(image.width_mm)
        assert share * image.width_mm == pytest.approx(mm)
        assert f"{mm} mm" in [text.get_text() for text in axis.texts]


@given(st.floats(3, 2000))
def test_the_scale_bar_fills_at_most_a_third(width):
    length = scale_bar_mm(width)
    assert length <= width / 3
    assert width > 600 or length > width / 10


def test_marks_can_be_left_out():
    axis = Figure().subplots()
    draw_slice(axis, slice_images(*marked("RAS"))[0], "gray", (0, 1), marks=False)
    assert not axis.texts
    assert not axis.lines


@pytest.mark.parametrize("shape", [(24, 20, 16), (1, 1, 1), (200, 2, 2), (2, 2, 200)])
def test_previews_of_any_shape_are_images_of_moderate_size(shape):
    volume = ct_volume(shape)
    image = imread(io.BytesIO(preview_png(volume.voxels, volume.grid)))
    assert 100 < image.shape[0] < 2000
    assert 100 < image.shape[1] < 3000
