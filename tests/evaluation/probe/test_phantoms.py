import numpy as np
import pytest

from ct_vae.evaluation.probe import phantoms
from ct_vae.evaluation.probe.measure import measure_contrast

SPACING = 2.0
DRAWINGS = (
    phantoms.draw_resolution,
    phantoms.draw_steps,
    phantoms.draw_nodules,
    phantoms.draw_discs,
)


def test_cells_are_a_square_around_the_center():
    centers = np.array([phantoms.cell_center(place) for place in range(16)])
    assert centers.mean(0).tolist() == [0, 0, 0]
    assert len({tuple(c) for c in centers.tolist()}) == 16
    assert np.abs(centers).max() == 54


@pytest.mark.parametrize("draw", DRAWINGS)
def test_every_volume_is_a_block_in_air_and_the_same_each_time(draw):
    volume = draw(SPACING)
    assert volume.grid.shape == (80, 80, 16)
    assert volume.voxels.dtype == np.int16
    assert volume.voxels[0].max() < -900
    np.testing.assert_array_equal(volume.voxels, draw(SPACING).voxels)


def test_rods_have_their_hu():
    voxels = phantoms.draw_steps(SPACING).voxels
    for place, hu in enumerate(phantoms.STEPS_HU):
        x, y = (round(c / SPACING + 39.5) for c in phantoms.cell_center(place)[:2])
        assert (voxels[x, y] == hu).all()


def test_noise_is_as_stated():
    drawn = phantoms.draw_discs(1.25)
    by_contrast = {c.contrast_hu: c.cnr for c in measure_contrast(drawn, drawn)}
    assert by_contrast[100] == pytest.approx(100 / phantoms.NOISE_HU, rel=0.2)
