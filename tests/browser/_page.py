"""The open report as a test sees it, and the same pictures computed from the volumes."""

import base64
import time
from functools import cache
from pathlib import Path

import numpy as np
from selenium.webdriver.common.action_chains import ActionChains

from ct_vae.evaluation.pictures.error_colors import error_colors
from ct_vae.evaluation.report import HtmlReport, ReportCase, payload
from ct_vae.evaluation.report.pictures import gray
from ct_vae.evaluation.tables import summarize
from ct_vae.slice_images import slice_images
from tests.evaluation.report._report import case_of, thorax

PLANES = ("axial", "coronal", "sagittal")
# Canvas pixels as text, since a list of numbers travels slowly.
_PIXELS = """
const canvas = document.getElementById("view-" + arguments[0]);
const copy = new OffscreenCanvas(canvas.width, canvas.height);
const context = copy.getContext("2d", {willReadFrequently: true});
context.drawImage(canvas, 0, 0);
const image = context.getImageData(0, 0, canvas.width, canvas.height);
let text = "";
for (const value of image.data) text += String.fromCharCode(value);
return [canvas.width, canvas.height, btoa(text)];
"""


class Page:
    def __init__(self, browser):
        self.browser = browser

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def find(self, selector):
        return self.browser.find_element("css selector", selector)

    def text(self, element):
        return self.find(f"#{element}").text

    def number(self, element) -> int:
        return int(self.text(element).replace("\N{MINUS SIGN}", "-"))

    def wait(self):
        busy = "return document.getElementById('viewer').getAttribute('aria-busy')"
        for _ in range(600):
            if self.run(busy) == "false":
                return
            time.sleep(0.05)
        raise AssertionError(f"the viewer stays empty: {self.browser.get_log('browser')}")

    def press(self, *keys):
        """Real key presses on what has the focus."""
        chain = ActionChains(self.browser)
        for key in keys:
            chain.send_keys(key)
        chain.perform()

    def focus_viewer(self):
        self.run("document.getElementById('viewer').focus()")

    def pixels(self, view):
        width, height, text = self.run(_PIXELS, view)
        raw = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)
        assert (raw[..., 3] == 255).all()
        return raw[..., :3].astype(int)

    def set(self, element, value):
        self.run(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input', {bubbles: true}));"
            "e.dispatchEvent(new Event('change', {bubbles: true}));",
            element,
            str(value),
        )

    def voxel(self):
        return tuple(int(n) for n in self.text("voxel").split(","))


@cache
def worse() -> ReportCase:
    return case_of(thorax(), "worse", sigma=2.0)


@cache
def better() -> ReportCase:
    """Stored in another orientation, and shown in the same one."""
    return case_of(thorax(axcodes="PIR"), "better", notes=("a note",))


def write_example(path: Path) -> Path:
    report = HtmlReport(path, model="small")
    report.add_case(better())
    kept, payload._SAMPLED_VOXELS = payload._SAMPLED_VOXELS, 3000
    report.add_case(worse())
    payload._SAMPLED_VOXELS = kept
    rows = better().rows + worse().rows
    report.write(rows, summarize(rows), {"version": "1"}, {"steps": [{"hu": 100, "f50": 0.3}]})
    return path


def ras(case: ReportCase):
    grid = case.original.grid
    return [grid.reorient_array(v.voxels, "RAS") for v in (case.original, case.reconstruction)]


def expected(case, plane, at, view, window=None, limit=100.0):
    """The picture of a whole slice through RAS indices, computed as the panels compute theirs."""
    number = PLANES.index(plane)
    images = [
        slice_images(v.voxels, v.grid, at)[number].pixels[::-1]
        for v in (case.original, case.reconstruction)
    ]
    if view == "error":
        return error_colors(images[1] - images[0], limit).astype(int)
    return gray(images[view == "reconstruction"], window).astype(int)
