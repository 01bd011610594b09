from pathlib import Path

import pytest

from ct_vae.errors import ConfigError, NoInputError
from ct_vae.evaluation.measure import COMPARED_WINDOWS, DEFAULT_METRICS, METRICS
from ct_vae.evaluation.protocols import PROTOCOLS
from ct_vae.evaluation.settings import Settings, build_settings


def test_without_options_the_usual_is_measured():
    settings = build_settings()
    assert settings == Settings()
    assert (settings.plan.windows, settings.plan.metrics) == (COMPARED_WINDOWS, DEFAULT_METRICS)
    assert (settings.masking, settings.about, settings.patients) == ("clinical", "", {})


def test_windows_of_ones_own_are_compared_in_every_way_and_once():
    plan = build_settings(windows=["lung", "kidney:300/80", "lung"], metrics=["ssim"]).plan
    assert [window.name for window in plan.windows] == ["lung", "kidney"]
    assert plan.similar_in == plan.windows
    assert (plan.windows[1].low, plan.windows[1].high) == (-70, 230)
    assert plan.metrics == ("ssim",)
    assert build_settings(metrics=["all"]).plan.metrics == METRICS


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_stands_alone(name):
    settings = build_settings(protocol=name, panels=False, full=True, write_masks=True)
    assert settings.plan is PROTOCOLS[name].plan
    assert (settings.masking, settings.about) == (PROTOCOLS[name].masking, PROTOCOLS[name].about)
    assert (settings.panels, settings.report, settings.full) == (False, True, True)
    assert settings.write_masks
    for more in ({"windows": ["lung"]}, {"metrics": ["ssim"]}):
        with pytest.raises(ConfigError, match=f"the protocol {name} has its own"):
            build_settings(protocol=name, **more)


def test_unknown_names_are_told_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"metrics lpips, fid: .*ms_ssim"):
        build_settings(metrics=["ssim", "lpips", "fid"])
    with pytest.raises(ConfigError, match="nonsense"):
        build_settings(windows=["nonsense"])
    with pytest.raises(ConfigError, match="a protocol is synthrad, maisi, openvae, got 'dicom'"):
        build_settings(protocol="dicom")


def test_masks_that_cannot_serve_are_refused_before_any_work(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(NoInputError, match="nowhere"):
        build_settings(masks=[str(tmp_path / "nowhere")]).given.check(1)
    with pytest.raises(ConfigError, match="3 cases"):
        build_settings(masks=[str(tmp_path / "a.nii.gz")]).given.check(3)
    with pytest.raises(ConfigError, match="give labels as well"):
        build_settings(label_names=tmp_path / "names.json")


def test_a_datalist_names_the_patients(tmp_path):
    (tmp_path / "list.csv").write_text("image,patient\na.nii.gz,P1\nb.nii.gz,P1\n")
    patients = build_settings(datalist=tmp_path / "list.csv").patients
    assert {Path(path).name: patient for path, patient in patients.items()} == {
        "a.nii.gz": "P1",
        "b.nii.gz": "P1",
    }


def test_a_text_is_a_list_with_commas():
    names = build_settings(windows="lung, bone", metrics=" ssim , errors,").plan
    assert [window.name for window in names.windows] == ["lung", "bone"]
    assert names.metrics == ("ssim", "errors")
    assert build_settings(metrics="all").plan.metrics == METRICS
