import pytest

from ct_vae.cli.measuring import given_masks, patients_of, plan_of, settings_of, show
from ct_vae.errors import ConfigError, NoInputError
from ct_vae.evaluation.given_masks import GivenMasks
from ct_vae.evaluation.measure import COMPARED_WINDOWS, DEFAULT_METRICS, METRICS
from ct_vae.evaluation.metrics import MetricRow
from ct_vae.evaluation.protocols import PROTOCOLS


def test_without_options_the_usual_is_measured():
    plan, masking, about = plan_of([], "", None)
    assert (plan.windows, plan.metrics) == (COMPARED_WINDOWS, DEFAULT_METRICS)
    assert (masking, about) == ("clinical", "")


def test_windows_of_ones_own_are_compared_in_every_way_and_once():
    plan, _, _ = plan_of(["lung", "kidney:300/80", "lung"], " ssim , errors,", None)
    assert [window.name for window in plan.windows] == ["lung", "kidney"]
    assert plan.similar_in == plan.windows
    assert (plan.windows[1].low, plan.windows[1].high) == (-70, 230)
    assert plan.metrics == ("ssim", "errors")
    assert plan_of([], "all", None)[0].metrics == METRICS


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_stands_alone(name):
    plan, masking, about = plan_of([], "", name)
    assert plan is PROTOCOLS[name].plan
    assert (masking, about) == (PROTOCOLS[name].masking, PROTOCOLS[name].about)
    for more in ((["lung"], ""), ([], "ssim")):
        with pytest.raises(ConfigError, match=f"--protocol {name}"):
            plan_of(*more, name)


def test_unknown_names_are_told_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"--metrics lpips, fid: .*ms_ssim"):
        plan_of([], "ssim,lpips,fid", None)
    with pytest.raises(ConfigError, match="nonsense"):
        plan_of(["nonsense"], "", None)


def test_the_terminal_alone_tells_which_mask_is_which(tmp_path, capsys):
    for name in ("Jane.nii.gz", "liver.nii.gz"):
        (tmp_path / name).touch()
    texts = [str(tmp_path / "Jane.nii.gz"), f"liver={tmp_path / 'liver.nii.gz'}"]
    given = given_masks(texts, None, None, 1)
    assert [name for name, _ in given.masks] == ["mask_1", "liver"]
    told = capsys.readouterr().err
    assert f"{tmp_path / 'Jane.nii.gz'} is mask_1\n" in told
    assert f"{tmp_path / 'liver.nii.gz'} is liver\n" in told


def test_masks_that_cannot_serve_are_refused_before_any_work(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(NoInputError, match="nowhere"):
        given_masks([str(tmp_path / "nowhere")], None, None, 1)
    with pytest.raises(ConfigError, match="3 cases"):
        given_masks([str(tmp_path / "a.nii.gz")], None, None, 3)
    with pytest.raises(ConfigError, match="--labels"):
        given_masks([], None, tmp_path / "names.json", 1)


def test_settings_hold_what_was_asked_for():
    planned = plan_of([], "", "maisi")
    settings = settings_of(
        planned, GivenMasks(), panels=False, report=True, full=True, keep_masks=True
    )
    assert (settings.plan, settings.masking, settings.about) == planned
    assert (settings.panels, settings.report, settings.full) == (False, True, True)
    assert settings.keep_masks
    assert patients_of(None) == {}


def test_the_first_mask_is_shown_and_what_is_undefined_is_a_dash(capsys):
    known = MetricRow("case_0001", "mean", "lung", "body", 9, 1.25, 2.5, -0.75, 41.0, 1500.0)
    empty = MetricRow("case_0002", "mean", "lung", "body", 0, None, None, None, None, 1500.0)
    other = MetricRow("case_0003", "mean", "lung", "liver", 9, 7.0, 7.0, 7.0, 7.0, 1500.0)
    show([known, empty, other])
    told = capsys.readouterr().out
    assert "Errors inside: body" in told
    cells = [line.split()[1::2] for line in told.splitlines() if "case_0" in line]
    assert cells[0][3:] == ["1500", "1.2", "2.5", "-0.8", "41.00"]
    assert cells[1][4:] == ["-", "-", "-", "-"]
    assert "case_0003" not in told
