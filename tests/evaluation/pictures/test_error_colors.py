import re
from importlib.resources import files

import numpy as np

from ct_vae.evaluation.pictures.error_colors import (
    ERROR_HU,
    HIGH,
    NO_ERROR,
    error_colormap,
    error_colors,
)


def test_errors_are_orange_or_blue_and_dark_at_zero():
    got = error_colors(np.float32([[-500, -100, 0, 50, 100]]), 100)
    assert got[0].tolist() == [
        [24, 150, 255],
        [24, 150, 255],
        [24, 24, 24],
        [140, 87, 24],
        [255, 150, 24],
    ]


def test_matplotlib_gets_the_same_colors():
    errors = np.linspace(-150, 150, 61)
    shown = error_colormap()((errors / ERROR_HU).clip(-1, 1) / 2 + 0.5)
    assert np.abs(255 * shown[:, :3] - error_colors(errors)).max() <= 1.01


def test_the_viewer_has_the_same_colors():
    script = files("ct_vae.evaluation.report").joinpath("assets/viewer.js").read_text("utf-8")
    assert f"const NO_ERROR = {NO_ERROR};" in script
    numbers = {float(n) for n in re.findall(r"NO_ERROR \+ (\d+) \*", script)}
    assert numbers == {float(HIGH[0]), float(HIGH[1])}
    page = files("ct_vae.evaluation.report").joinpath("assets/viewer.html").read_text("utf-8")
    assert re.search(r'id="limit"[^>]*value="(\d+)"', page)[1] == f"{ERROR_HU:g}"
