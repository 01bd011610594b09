import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from ct_vae.evaluation.report.payload import chosen_slices, ras_pair
from ct_vae.evaluation.windows import WINDOWS, Window
from tests.browser._accessibility import problems
from tests.browser._page import PLANES, better, expected, ras, worse

pytestmark = pytest.mark.browser

NORMAL = {"axial": 2, "coronal": 1, "sagittal": 0}
VIEWS = ("original", "reconstruction", "error")


def choose(page, name):
    names = page.run("return [...document.querySelectorAll('#case option')].map((o) => o.text)")
    page.set("case", names.index(name))
    page.wait()


def assert_shown(page, case, plane, at, window, limit=100.0):
    for view in VIEWS:
        got = page.pixels(view)
        want = expected(case, plane, at, view, window, limit)
        assert got.shape == want.shape, view
        assert np.abs(got - want).max() <= 1, view


@pytest.mark.parametrize("name", ["bone", "lung"])
def test_windows_and_planes_change_the_pixels_as_computed(page, name):
    choose(page, "better")
    case = better()
    assert_shown(page, case, "axial", page.voxel(), WINDOWS["soft_tissue"])
    page.set("window", list(WINDOWS).index(name))
    for plane in PLANES:
        page.find(f"[data-plane={plane}]").click()
        assert_shown(page, case, plane, page.voxel(), WINDOWS[name])
    page.set("slice", 3)
    assert page.voxel()[0] == 3
    assert_shown(page, case, "sagittal", page.voxel(), WINDOWS[name])


def test_width_level_and_the_scale_of_the_error_are_free(page):
    choose(page, "better")
    page.set("width", 777)
    page.set("level", -55)
    page.set("limit", 30)
    assert_shown(page, better(), "axial", page.voxel(), Window("free", 777, -55), 30.0)
    assert page.run("return document.getElementById('window').value") == ""


def test_the_read_out_is_the_volume_at_the_crosshair(page):
    choose(page, "better")
    page.focus_viewer()
    original, result = ras(better())
    affine = better().original.grid.reorient("RAS").affine
    for keys in ([], [Keys.ARROW_LEFT] * 3, [Keys.ARROW_UP] * 2, ["c", Keys.ARROW_DOWN], ["s"]):
        page.press(*keys)
        at = page.voxel()
        assert page.number("value-original") == original[at]
        assert page.number("value-reconstruction") == result[at]
        assert page.number("value-error") == int(result[at]) - int(original[at])
        mm = affine[:3, :3] @ at + affine[:3, 3]
        names = [pair[int(v < 0)] for pair, v in zip(("RL", "AP", "SI"), mm, strict=True)]
        want = ", ".join(f"{n} {abs(v):.1f}" for n, v in zip(names, mm, strict=True))
        assert page.text("position") == want


def test_a_sampled_volume_is_stated_and_its_values_are_the_volumes(page):
    case = worse()
    original, result = ras(case)
    whole = chosen_slices(ras_pair(case))
    seen = set()
    for plane in PLANES:
        page.find(f"[data-plane={plane}]").click()
        for place in range(0, int(page.find("#slice").get_attribute("max")) + 1, 2):
            page.set("slice", place)
            at = page.voxel()
            assert page.number("value-original") == original[at]
            assert page.number("value-reconstruction") == result[at]
            is_whole = (plane, at[NORMAL[plane]]) in whole
            seen.add((plane, is_whole))
            said = page.text("resolution")
            assert said.startswith("Every voxel" if is_whole else "Sampled: one of every 2 ")
            if is_whole:
                assert all(why in said for why in whole[plane, at[NORMAL[plane]]])
        page.set("whole", page.run("return document.querySelector('#whole').options.length - 2"))
        assert page.text("resolution").startswith("Every voxel")
    assert {(plane, False) for plane in PLANES} <= seen


def test_it_opens_at_the_largest_error_of_the_worst_case(page):
    case = worse()
    found = ras_pair(case).found
    assert page.run("return document.querySelector('#case').selectedOptions[0].text") == "worse"
    assert page.voxel() == found.worst
    assert page.number("value-error") == found.worst_hu
    page.find("#centre").click()
    assert page.voxel()[2] == ras_pair(case).middle[2]
    page.focus_viewer()
    page.press("e")
    assert page.voxel() == found.worst


def test_everything_goes_by_keyboard(page):
    choose(page, "better")
    page.focus_viewer()
    x, y, z = page.voxel()
    page.press(Keys.PAGE_UP)
    assert page.voxel() == (x, y, z + 1)
    page.press(Keys.PAGE_DOWN, Keys.PAGE_DOWN)
    assert page.voxel() == (x, y, z - 1)
    # The patient's right is on the left.
    page.press(Keys.ARROW_LEFT, Keys.ARROW_UP)
    assert page.voxel() == (x + 1, y + 1, z - 1)
    page.press("s")
    assert page.find("[data-plane=sagittal]").get_attribute("aria-pressed") == "true"
    page.press("2")
    assert page.find("#width").get_attribute("value") == "1500"
    assert page.find("#level").get_attribute("value") == "-600"
    page.press("]", ".")
    assert float(page.find("#width").get_attribute("value")) > 1500
    assert float(page.find("#level").get_attribute("value")) > -600
    page.press("[", "[", ",", ",")
    assert float(page.find("#width").get_attribute("value")) < 1500
    assert float(page.find("#level").get_attribute("value")) < -600
    before = page.find("#view-original").size["width"]
    page.press("z")
    assert page.find("#view-original").size["width"] == pytest.approx(2 * before, rel=0.01)


def test_the_focus_can_be_seen_and_reaches_every_control(page):
    reached = []
    page.run("document.body.focus()")
    for _ in range(30):
        page.press(Keys.TAB)
        width, name = page.run(
            "const e = document.activeElement, s = getComputedStyle(e);"
            "const outline = s.outlineStyle === 'none' ? '0px' : s.outlineWidth;"
            "return [outline, e === document.body ? 'end' : e.id || e.dataset.plane || '']"
        )
        if name == "end":
            break
        reached.append(name)
        assert width == "2px", name
    for name in ("theme", "viewer", "case", *PLANES, "window", "width", "level", "slice", "whole"):
        assert name in reached


def test_dark_and_light_follow_the_system_and_the_toggle(page):
    browser = page.browser

    def brightness(of="backgroundColor"):
        colour = page.run(f"return getComputedStyle(document.body).{of}")
        return sum(int(n) for n in colour.removeprefix("rgb(").rstrip(")").split(","))

    try:
        for scheme, dark in (("dark", True), ("light", False)):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            page.run("delete document.documentElement.dataset.theme")
            assert (brightness() < brightness("color")) == dark
            page.find("#theme").click()
            assert (brightness() < brightness("color")) != dark
            page.focus_viewer()
            page.press("t")
            assert (brightness() < brightness("color")) == dark
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_mouse_scrolls_aims_and_windows(page):
    choose(page, "better")
    stage = page.find(".stage")
    x, y, z = page.voxel()
    page.run(
        "const turn = {deltaY: 9, bubbles: true, cancelable: true};"
        "arguments[0].dispatchEvent(new WheelEvent('wheel', turn))",
        stage,
    )
    assert page.voxel() == (x, y, z + 1)
    ActionChains(page.browser).move_to_element(page.find("#view-original")).click().perform()
    across, deep, _ = better().original.grid.reorient("RAS").shape
    assert page.voxel()[0] == pytest.approx(across / 2, abs=1)
    assert page.voxel()[1] == pytest.approx(deep / 2, abs=1)
    chain = ActionChains(page.browser).move_to_element(stage).key_down(Keys.SHIFT)
    chain.click_and_hold().move_by_offset(40, -30).release().key_up(Keys.SHIFT).perform()
    assert float(page.find("#width").get_attribute("value")) == pytest.approx(400 + 80, abs=4)
    assert float(page.find("#level").get_attribute("value")) == pytest.approx(40 + 60, abs=4)


def test_voxels_have_their_shape_in_mm(page):
    choose(page, "better")
    grid = better().original.grid.reorient("RAS")
    mm = [n * s for n, s in zip(grid.shape, grid.spacing_mm, strict=True)]
    for plane, (across, up) in (("axial", (0, 1)), ("coronal", (0, 2)), ("sagittal", (1, 2))):
        page.find(f"[data-plane={plane}]").click()
        size = page.run(
            "const box = document.getElementById('view-error').getBoundingClientRect();"
            "return [box.width, box.height]"
        )
        assert size[0] / size[1] == pytest.approx(mm[across] / mm[up], rel=0.01)


@pytest.mark.parametrize("width", [1280, 390])
def test_no_window_needs_sideways_scrolling(page, width):
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    try:
        page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        page.run("for (const d of document.querySelectorAll('details')) d.open = true")
        too_wide = page.run(
            "return [...document.querySelectorAll('body *')]"
            ".filter((e) => !e.closest('.wide, thead')"
            " && e.getBoundingClientRect().right > arguments[0])"
            ".map((e) => e.outerHTML.slice(0, 80))",
            width,
        )
        assert too_wide == []
        assert page.run("return document.documentElement.scrollWidth") <= width
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_chart_comes_first_then_the_viewer_then_folded_tables(page):
    tops = page.run(
        "return ['.plot.bars', '#viewer', 'article', '.tables']"
        ".map((s) => document.querySelector(s).getBoundingClientRect().top)"
    )
    assert tops == sorted(tops)
    assert page.run(
        "return [...document.querySelectorAll('.tables > :not(h2)')]"
        ".every((e) => e.tagName === 'DETAILS' && !e.open)"
    )


def test_pictures_have_the_sides_of_the_patient_at_their_edges(page):
    box, *marks = page.run(
        "const p = document.querySelector('.picture');"
        "return [p, ...p.querySelectorAll('i')].map((e) => {"
        " const r = e.getBoundingClientRect();"
        " return [e.localName === 'i' ? e.textContent : '', r.left, r.right]; })"
    )
    third = (box[2] - box[1]) / 3
    assert [name for name, *_ in marks] == ["R", "L"] * 3
    for place, (_, left, right) in enumerate(marks):
        start = box[1] + third * (place // 2)
        if place % 2:
            assert start + third - 20 < right < start + third
        else:
            assert start < left < start + 20


def test_without_javascript_tables_pictures_and_plots_are_there(browser, report_file):
    try:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        browser.get(report_file.as_uri())
        for summary in browser.find_elements("css selector", "details:not(#viewer *) > summary"):
            summary.click()
        text = browser.find_element("css selector", "body").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "Median and quartiles over patients" in text
    assert "The viewer needs JavaScript" in text
    assert "Histogram of errors" in text
    assert "Shorter is better" in text
    assert "At the crosshair" not in text
    assert "View" not in text.split()
    assert len(browser.find_elements("css selector", "article img")) == 2


@pytest.mark.parametrize("width", [1280, 400])
def test_an_audit_finds_nothing(page, report_file, width):
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    try:
        page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        page.browser.get(report_file.as_uri())
        page.wait()
        page.run("for (const d of document.querySelectorAll('details')) d.open = true")
        assert problems(page.browser, skipped_text=".marks, .side, .scale") == []
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
