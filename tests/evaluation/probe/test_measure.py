import numpy as np
import pytest

from ct_vae.evaluation.probe import phantoms
from ct_vae.evaluation.probe.drawing import axes_mm
from ct_vae.evaluation.probe.measure import (
    measure_contrast,
    measure_line_pairs,
    measure_nodules,
    measure_steps,
)
from ct_vae.volume import Volume

SPACING = 1.25


@pytest.fixture(scope="module")
def nodules():
    drawn = phantoms.draw_nodules(SPACING)
    return drawn, measure_nodules(drawn, drawn)


def test_a_hole_in_the_middle_does_not_lose_a_nodule(nodules):
    drawn, whole = nodules
    x, y, z = (
        axis - c
        for axis, c in zip(axes_mm(drawn.grid.shape, SPACING), phantoms.cell_center(3), strict=True)
    )
    hole = x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 < 1.5**2
    voxels = np.where(hole, np.int16(phantoms.LUNG_HU), drawn.voxels)
    found = measure_nodules(drawn, Volume(voxels, drawn.grid))
    assert -0.2 < found[3].error < 0
    assert found[4:] == whole[4:]


def test_drawn_nodules_have_nearly_their_true_volume(nodules):
    for nodule in nodules[1]:
        radius = (nodule.drawn_mm3 * 3 / 4 / np.pi) ** (1 / 3)
        assert radius == pytest.approx(nodule.diameter_mm / 2, abs=0.25 * SPACING)
        if nodule.diameter_mm >= 6:
            assert radius == pytest.approx(nodule.diameter_mm / 2, abs=0.15 * SPACING)


def test_a_linear_change_of_hu_is_found():
    drawn = phantoms.draw_steps(SPACING)
    line = measure_steps(Volume(0.5 * drawn.voxels.astype(np.float32) - 3, drawn.grid))
    assert line.drawn_hu == phantoms.STEPS_HU
    assert (line.slope, line.intercept_hu) == pytest.approx((0.5, -3), abs=1e-4)
    assert line.max_error_hu == pytest.approx(1503)


def test_half_the_contrast_is_half_the_modulation_and_the_same_ratio_to_noise():
    bars, discs = (draw(SPACING) for draw in (phantoms.draw_resolution, phantoms.draw_discs))
    half = [Volume(0.5 * v.voxels.astype(np.float32), v.grid) for v in (bars, discs)]
    pairs = measure_line_pairs(bars, half[0])
    assert {p.transfer for p in pairs if p.per_cm >= 4} == {None}
    assert all(p.transfer == pytest.approx(0.5) for p in pairs if p.per_cm < 3)
    for ratio in measure_contrast(discs, half[1]):
        assert ratio.cnr == pytest.approx(ratio.cnr_drawn)
