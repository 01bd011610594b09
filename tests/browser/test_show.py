import numpy as np
import pytest

from ct_vae.evaluation.report.pictures import gray
from ct_vae.evaluation.report.show_page import ShownCase, write_show_page
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.preprocess.pipeline import Preprocessor
from tests._small import SMALL_CODES, ct_volume, small_codec
from tests.browser._accessibility import problems
from tests.browser._page import Page
from tests.evaluation.report._report import blurred

pytestmark = pytest.mark.browser

# Axes permuted, flipped and tilted, so that latent and CT agree in nothing but space.
_TILT = np.radians(10)
_AFFINE = np.array(
    [
        [0, 0, -2.5, 9],
        [1.5 * np.cos(_TILT), -2.0 * np.sin(_TILT), 0, -4],
        [1.5 * np.sin(_TILT), 2.0 * np.cos(_TILT), 0, 5],
        [0, 0, 0, 1],
    ]
)
_OPACITY = 60


def opened(browser, path, case, width=1300):
    write_show_page(case, path)
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(path.as_uri())
    page = Page(browser)
    page.wait()
    return page


@pytest.fixture
def desktop_again(browser):
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("spacing", [None, (3.0, 3.0, 3.0)])
def test_a_latent_is_where_its_voxels_are_in_space(browser, tmp_path, desktop_again, spacing):
    volume = ct_volume(affine=_AFFINE)
    codec = small_codec()
    codec.preprocessor = Preprocessor(spacing_mm=spacing)
    latent = codec.encode(volume)
    page = opened(browser, tmp_path / "page.html", ShownCase(volume, latent))
    page.set("channel", 2)
    page.set("opacity", _OPACITY)
    ras = volume.grid.reorient("RAS")
    hu = volume.grid.reorient_array(volume.voxels, "RAS")
    colors = np.array(page.run("return RISING_COLOURS"))
    low, high = np.quantile(latent.array[2], (0.01, 0.99))
    z = page.voxel()[2]
    got = page.pixels("latent")
    assert got.shape[:2] == ras.shape[1::-1]
    below = gray(hu[:, :, z], WINDOWS["soft_tissue"]).astype(float)
    inside = 0
    for x, y in np.ndindex(ras.shape[:2]):
        # The nearest latent voxel of this point in space.
        place = latent.grid.to_index(ras.to_world((x, y, z)))
        if (np.abs(place - np.floor(place) - 0.5) < 0.01).any():
            continue
        index = tuple(np.rint(place).astype(int))
        pixel = got[ras.shape[1] - 1 - y, ras.shape[0] - 1 - x]
        want = below[x, y]
        if all(0 <= n < side for n, side in zip(index, latent.grid.shape, strict=True)):
            inside += 1
            level = np.clip((latent.array[2][index] - low) / (high - low), 0, 1)
            top = colors[round(level * 255)]
            want = want + _OPACITY / 100 * (top - want)
        # A value between two colors may take either one.
        assert np.abs(pixel - want).max() <= 4, (x, y)
    assert inside > hu[:, :, z].size / 2


def test_the_read_out_tells_codes_and_means(browser, tmp_path, desktop_again):
    volume = ct_volume()
    for base in (SMALL_CODES["vq"], None):
        codec = small_codec(base=base) if base else small_codec()
        latent = codec.encode(volume)
        page = opened(browser, tmp_path / "page.html", ShownCase(volume, latent))
        index = tuple(n // 4 for n in page.voxel())
        text = page.text("value-latent").replace("\N{MINUS SIGN}", "-")
        if base:
            assert int(text) == latent.array[index]
        else:
            numbers = [float(n) for n in text.split(",")]
            assert numbers == pytest.approx(latent.array[(slice(None), *index)].tolist(), abs=2e-3)


def test_a_latent_is_shown_alone(browser, tmp_path, desktop_again):
    latent = small_codec().encode(ct_volume())
    browser.get_log("browser")
    page = opened(browser, tmp_path / "page.html", ShownCase(latent=latent))
    assert page.pixels("latent").shape[:2] == latent.grid.shape[1::-1]
    assert page.pixels("latent").std() > 5
    assert not page.find("#opacity").is_displayed()
    assert not page.find("#worst").is_displayed()
    page.focus_viewer()
    page.press("e", "s", "z")
    assert browser.get_log("browser") == []


def test_it_fits_a_telephone_and_works_by_touch(browser, tmp_path, desktop_again):
    volume = ct_volume((40, 40, 20), affine=np.eye(4))
    case = ShownCase(volume, small_codec().encode(volume), blurred(volume))
    page = opened(browser, tmp_path / "page.html", case, width=400)
    assert page.run("return document.documentElement.scrollWidth") == 400
    stage = page.run(
        "const s = document.querySelector('.stage'); s.scrollIntoView({block: 'center'});"
        "const r = s.getBoundingClientRect(); return [r.left, r.top, r.width];"
    )

    def touch(kind, *places):
        points = [
            {"x": stage[0] + x * stage[2], "y": stage[1] + y * stage[2], "id": n}
            for n, (x, y) in enumerate(places)
        ]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (0.25, 0.5))
    touch("touchEnd")
    assert abs(page.voxel()[0] - 29) <= 1
    before = page.voxel()[2]
    page.set("drag", "slices")
    touch("touchStart", (0.5, 0.5))
    touch("touchMove", (0.5, 0.45))
    touch("touchMove", (0.5, 0.4))
    touch("touchEnd")
    assert page.voxel()[2] > before
    page.set("drag", "window")
    touch("touchStart", (0.3, 0.5))
    touch("touchMove", (0.6, 0.5))
    touch("touchEnd")
    assert int(page.find("#width").get_attribute("value")) > 400
    for ends, zoom in (((0.1, 0.9), "2"), ((0.42, 0.58), "1")):
        start = (0.3, 0.7) if zoom == "2" else (0.2, 0.8)
        touch("touchStart", *((x, 0.5) for x in start))
        touch("touchMove", *((x, 0.5) for x in ends))
        touch("touchEnd")
        assert page.find("#zoom").get_attribute("value") == zoom


def test_the_scale_bar_is_as_long_as_it_says(browser, tmp_path, desktop_again):
    volume = ct_volume((40, 30, 20))
    page = opened(browser, tmp_path / "page.html", ShownCase(volume))
    for zoom in (1, 2, 8):
        page.set("zoom", zoom)
        bar, frame, text = page.run(
            "const s = document.querySelector('.stage');"
            "const w = (c) => s.querySelector(c).getBoundingClientRect().width;"
            "return [w('.scale'), w('.frame'), s.querySelector('.scale').textContent];"
        )
        number, unit = text.split()
        mm = float(number) * {"mm": 1, "cm": 10}[unit]
        assert bar / frame * 40 * volume.grid.spacing_mm[0] == pytest.approx(mm, rel=0.03)


@pytest.mark.parametrize("width", [1280, 400])
def test_an_audit_finds_nothing(browser, tmp_path, desktop_again, width):
    volume, codec = ct_volume(), small_codec()
    latent = codec.encode(volume)
    case = ShownCase(volume, latent, codec.decode(latent))
    page = opened(browser, tmp_path / "page.html", case, width)
    assert problems(page.browser, skipped_text=".side, .scale") == []
