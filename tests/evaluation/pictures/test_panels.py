import numpy as np
import pytest
from matplotlib.image import imread

from ct_vae.errors import InputError
from ct_vae.evaluation.pictures.panels import column_widths, middle_of, write_panel
from ct_vae.evaluation.windows import Window
from ct_vae.grid import Grid
from ct_vae.masks import body_mask
from ct_vae.slice_images import slice_images
from ct_vae.volume import Volume
from tests._asserts import assert_only_files
from tests.evaluation._cases import noisy, random_volume, volume_of


def test_slices_go_through_the_middle_of_the_body():
    voxels = np.full((40, 40, 20), -1000, np.int16)
    voxels[2:13, 20:35, 4:9] = 50
    volume = volume_of(voxels)
    assert middle_of(volume, body_mask(volume)) == (7, 27, 6)


@pytest.mark.parametrize("windows", [1, 2, 3])
def test_the_picture_is_written_whole(tmp_path, windows):
    volume = random_volume(shape=(24, 20, 16))
    chosen = [Window(f"w{n}", 400, 40 * n) for n in range(windows)]
    write_panel(volume, noisy(volume), tmp_path / "panel.png", chosen, title="a model")
    height, width, _ = imread(tmp_path / "panel.png").shape
    assert height > 250 * windows
    assert width > 400
    assert_only_files(tmp_path, {"panel.png"})


@pytest.mark.parametrize(
    ("tall", "expected"), [(10, (1.25, 1.25, 1.0)), (90, (1.25, 5 / 9, 4 / 9))]
)
def test_the_axial_slice_is_at_least_as_tall_as_the_others(tall, expected):
    """It is 100 mm wide and 80 mm high; the others are 100 or 80 mm wide."""
    volume = random_volume(shape=(50, 40, tall))
    slices = slice_images(volume.voxels, volume.grid)
    assert [round(s.height_mm) for s in slices] == [80, 2 * tall, 2 * tall]
    assert column_widths(slices) == pytest.approx(expected)


def test_a_flat_volume_has_a_picture_too(tmp_path):
    volume = random_volume(shape=(24, 20, 1))
    write_panel(volume, volume, tmp_path / "panel.png")
    assert imread(tmp_path / "panel.png").size


def test_other_shapes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"\(9, 12, 7\)"):
        write_panel(random_volume(), random_volume(shape=(9, 12, 8)), tmp_path / "panel.png")
    assert_only_files(tmp_path, set())


def test_oblique_grids_are_shown_along_their_nearest_axes(tmp_path):
    volume = random_volume(shape=(24, 20, 16))
    affine = volume.grid.affine.copy()
    affine[:2, :2] = 2 * np.array([[0.95, -0.31], [0.31, 0.95]])
    tilted = Volume(volume.voxels, Grid(volume.grid.shape, affine))
    write_panel(tilted, tilted, tmp_path / "panel.png")
    assert_only_files(tmp_path, {"panel.png"})
