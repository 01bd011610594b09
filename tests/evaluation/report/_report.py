"""Reports on phantoms that several tests read."""

import base64
import json
import re
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from ct_vae.evaluation.metrics.metric_rows import evaluate_pair
from ct_vae.evaluation.report import HtmlReport, ReportCase
from ct_vae.evaluation.tables import summarize
from ct_vae.masks import body_mask
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import Volume


def blurred(volume: Volume, sigma: float = 0.8) -> Volume:
    smooth = ndimage.gaussian_filter(volume.voxels.astype(np.float32), sigma)
    return Volume(np.rint(smooth).astype(np.int16), volume.grid)


def case_of(volume: Volume, name: str = "case_0001", sigma: float = 0.8, **more) -> ReportCase:
    result = blurred(volume, sigma)
    body = body_mask(volume)
    rows = evaluate_pair(volume, result, case=name, masks=(body,))
    rows += evaluate_pair(volume, blurred(volume, 3), case=name, what="resample", masks=(body,))
    return ReportCase(name, volume, result, rows, body, **more)


def thorax(shape=(36, 28, 18), axcodes: str = "RAS") -> Volume:
    """A new volume each time, of one phantom of 10 x 10 x 15 mm."""
    volume = _phantom(shape)
    grid = volume.grid
    moved = grid.reorient_array(volume.voxels, axcodes).copy()
    return Volume(moved, grid.reorient(axcodes))


@cache
def _phantom(shape) -> Volume:
    return make_phantom("thorax", 0, (10.0, 10.0, 15.0), shape)


def write_report(path: Path, cases, protocol=None, probe=None, **options) -> str:
    report = HtmlReport(path, **options)
    for case in cases:
        report.add_case(case)
    rows = [row for case in cases for row in case.rows]
    report.write(rows, summarize(rows), protocol or {"version": "1"}, probe)
    return path.read_text("utf-8")


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def texts_of(page: str) -> dict[str, str]:
    return dict(re.findall(r'<script type="text/plain" id="(hu-[\d-]+)">(.*?)</script>', page))


def plainly_unpacked(text) -> np.ndarray:
    """HU of a packed text, one step at a time."""
    raw = zlib.decompress(base64.b64decode(text), wbits=-15)
    low, high = raw[: len(raw) // 2], raw[len(raw) // 2 :]
    values, last = [], 0
    for a, b in zip(low, high, strict=True):
        folded = a + 256 * b
        last += folded // 2 if folded % 2 == 0 else -(folded + 1) // 2
        values.append((last + 32768) % 65536 - 32768)
    return np.array(values, np.int16)
