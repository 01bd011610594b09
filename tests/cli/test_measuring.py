from ct_vae.cli.measuring import settings_of, show
from ct_vae.evaluation.measure import METRICS
from ct_vae.evaluation.metrics import MetricRow

NOTHING = {"panels": False, "report": True, "full": True, "write_masks": True}


def test_metrics_are_split_at_commas_and_switches_taken_over():
    settings = settings_of([], " ssim , errors,", None, [], None, None, None, **NOTHING)
    assert settings.plan.metrics == ("ssim", "errors")
    assert (settings.panels, settings.report, settings.full) == (False, True, True)
    assert settings.write_masks
    everything = settings_of([], "all", None, [], None, None, None, **NOTHING)
    assert everything.plan.metrics == METRICS


def test_the_terminal_alone_tells_which_mask_is_which(tmp_path, capsys):
    for name in ("Jane.nii.gz", "liver.nii.gz"):
        (tmp_path / name).touch()
    texts = [str(tmp_path / "Jane.nii.gz"), f"liver={tmp_path / 'liver.nii.gz'}"]
    settings = settings_of([], "", None, texts, None, None, None, **NOTHING)
    assert [name for name, _ in settings.given.masks] == ["mask_1", "liver"]
    told = capsys.readouterr().err
    assert f"{tmp_path / 'Jane.nii.gz'} is mask_1\n" in told
    assert f"{tmp_path / 'liver.nii.gz'} is liver\n" in told


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
