from dataclasses import replace

import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.evaluation import case as module
from ct_vae.evaluation.case import evaluate_case
from ct_vae.evaluation.measure import Plan
from ct_vae.evaluation.metrics.metric_rows import evaluate_pair
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.inference.tiling import Tiling
from ct_vae.masks import everything
from tests._small import ct_volume, small_codec

CHEAP = Plan((WINDOWS["full"],), (), ("errors",))


@pytest.fixture(scope="module")
def found():
    return evaluate_case(small_codec(), ct_volume((16, 16, 12)), "case_0001", CHEAP)


def test_rows_are_of_what_is_returned_and_of_each_baseline(found):
    whats = list(dict.fromkeys(row.what for row in found.rows))
    assert whats == ["reconstruction", "identity", "klt", "resample", "mean", "jpeg2000"]
    assert {row.case for row in found.rows} == {"case_0001"}
    for name in whats:
        masks = [row.mask for row in found.rows if row.what == name]
        assert masks == ["body", "field_of_view", "in_window"]
    full = (WINDOWS["full"],)
    again = evaluate_pair(found.original, found.reconstruction, full, case="case_0001")
    assert list(found.rows[:2]) == again
    assert found.reconstruction.voxels.dtype == np.int16


def test_a_line_tells_sizes_time_and_seams(found):
    line = found.line()
    assert line["bits_per_voxel"] == found.compression.bits_per_voxel
    assert line["seconds"] == line["encode_seconds"] + line["decode_seconds"] > 0
    voxels = found.original.voxels.size
    assert line["encode_mvoxels_per_second"] * line["encode_seconds"] == pytest.approx(voxels / 1e6)
    # A process with PyTorch takes at least this, and no test this much.
    assert 50 < line["peak_memory_mb"] < 100_000
    assert (found.seams, line["seam_ratio"]) == (None, None)
    assert not found.notes


def test_seams_are_measured_where_there_are_tiles_and_on_request():
    volume = ct_volume((20, 12, 8))
    tiled = evaluate_case(small_codec(Tiling("blend", tile=8, overlap=0.5)), volume, "a", CHEAP)
    assert tiled.line()["rmse_near_seams"] == tiled.seams.near > 0
    asked = Plan((WINDOWS["full"],), (), ("errors", "seams"))
    assert evaluate_case(small_codec(), volume, "a", asked).seams is not None


def test_only_given_masks_are_used_and_a_missing_baseline_is_told(monkeypatch):
    def out_of_reach(volume, bits):
        raise InputError(f"{bits:.1f} bits are out of reach")

    monkeypatch.setattr(module, "jpeg2000_baseline", out_of_reach)
    volume = ct_volume((8, 8, 8))
    result = evaluate_case(small_codec(), volume, "a", CHEAP, [everything(volume)])
    assert {row.mask for row in result.rows} == {"all", "in_window"}
    assert "jpeg2000" not in {row.what for row in result.rows}
    (note,) = result.notes
    assert "JPEG 2000" in note
    assert "out of reach" in note


def test_curves_are_measured_on_request_only(found):
    assert found.curves is None
    plan = replace(CHEAP, rate_distortion=True)
    result = evaluate_case(small_codec(), ct_volume((40, 36, 8)), "a", plan)
    names = [curve.name for curve in result.curves.curves]
    assert names[:4] == ["model", "klt", "jpeg2000", "sperr"]
    row = next(r for r in result.rows if (r.what, r.mask) == ("reconstruction", "body"))
    assert result.curves.errors["body"] == pytest.approx(row.rmse)
    assert result.curves.bits_on_disk == result.compression.bits_per_voxel
