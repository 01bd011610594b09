import numpy as np
from matplotlib.image import imread

from ct_vae.evaluation.pictures.sample_sheet import SHEET_WINDOWS, sheet_row, write_sheet
from ct_vae.evaluation.windows import WINDOWS, Window
from tests._asserts import assert_only_files
from tests.evaluation._cases import volume_of

LOW_HIGH = (Window("one", 400, 0), Window("two", 400, 600))


def flat(hu, shape=(12, 10, 8)):
    return volume_of(np.full(shape, hu, np.int16), (1.0, 1.0, 1.0))


def cells(path, rows, windows):
    """Grey in the middle of each cell, by the sheet's own inches at 110 dots each."""
    picture = imread(path)[..., :3].mean(-1)
    left = [0.6 + 5.3 * w + 1.7 * c for w in range(windows) for c in range(3)]
    at = [(1.0 + 1.7 * (r + 0.5), x + 0.85) for r in range(rows) for x in left]
    gray = [picture[round(110 * y), round(110 * x)] for y, x in at]
    return np.reshape(gray, (rows, 3 * windows))


def test_rows_are_volumes_and_columns_windows(tmp_path):
    rows = [sheet_row("black", flat(-200)), sheet_row("white", flat(200))]
    write_sheet(rows, tmp_path / "sheet.png", LOW_HIGH)
    gray = cells(tmp_path / "sheet.png", 2, 2)
    np.testing.assert_allclose(gray, [[0] * 6, [1] * 3 + [0] * 3], atol=0.01)
    assert_only_files(tmp_path, {"sheet.png"})


def test_slices_go_where_they_are_told():
    voxels = np.zeros((12, 10, 8), np.int16)
    voxels[2, 3, 2] = 200
    volume = volume_of(voxels, (1.0, 1.0, 1.0))
    for at, shown in (((2, 3, 2), True), (None, False)):
        row = sheet_row("here", volume, at)
        assert all(s.pixels.max() == (200 if shown else 0) for s in row.planes)


def test_a_flat_volume_has_a_row_too(tmp_path):
    row = sheet_row("flat", flat(0, (12, 10, 1)))
    write_sheet([row], tmp_path / "sheet.png")
    assert imread(tmp_path / "sheet.png").size


def test_a_row_does_not_keep_its_volume():
    volume = flat(0)
    planes = sheet_row("a", volume).planes
    assert not any(np.shares_memory(plane.pixels, volume.voxels) for plane in planes)
    assert all(plane.pixels.base is None for plane in planes)


def test_windows_are_soft_tissue_and_lung():
    assert (WINDOWS["soft_tissue"], WINDOWS["lung"]) == SHEET_WINDOWS
