import json
from dataclasses import replace

import numpy as np

from ct_vae.evaluation.measure import METRICS, Plan
from ct_vae.evaluation.metrics.tissue_bands import TISSUE_BANDS
from ct_vae.evaluation.record import case_record, plan_record
from ct_vae.evaluation.windows import Window
from ct_vae.volume import Volume
from tests.evaluation._cases import random_volume


def test_every_setting_that_a_figure_depends_on_is_told():
    plan = Plan((Window("own", 300, 20),), (), METRICS, luminance_everywhere=True)
    told = plan_record(plan, ["body", "in_window", "liver"], "")
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["windows"] == [{"name": "own", "width": 300, "level": 20, "low": -130, "high": 170}]
    assert told["metrics"] == list(METRICS)
    assert told["masks"].keys() == {"body", "in_window", "liver"}
    assert told["masks"]["liver"] == "given in a file"
    assert "-500 HU" in told["masks"]["body"]
    constants = told["constants"]
    assert constants["ms_ssim"]["luminance_everywhere"] is True
    assert [band["low"] for band in constants["tissue_bands"]] == [b.low for b in TISSUE_BANDS]
    assert constants["median_interval"]["least_patients"] == 6
    assert {"ct_vae", "numpy", "python"} <= told["versions"].keys()


def test_constants_of_metrics_that_were_not_asked_for_are_left_out():
    told = plan_record(Plan(metrics=("errors",)), ["all"], "SynthRAD")
    assert told["follows"] == "SynthRAD"
    assert not {"ms_ssim", "tissue_bands", "regions_mm"} & told["constants"].keys()


def test_a_case_is_told_by_digests_that_see_one_voxel():
    volume = replace(random_volume(), warnings=("odd",))
    voxels = volume.voxels.copy()
    voxels[-1, 0, 3] += 1
    other = Volume(voxels, volume.grid)
    told = case_record(volume, other)
    assert told["shape"] == [9, 12, 7]
    assert told["spacing_mm"] == [2.0, 2.0, 2.0]
    assert told["warnings"] == ["odd"]
    assert told["original_sha256"] != told["reconstruction_sha256"]
    same = case_record(volume, Volume(np.asfortranarray(volume.voxels), volume.grid))
    assert same["original_sha256"] == same["reconstruction_sha256"] == told["original_sha256"]
