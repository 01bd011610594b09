from ct_vae.cli.metric_options import show, tell_masks
from ct_vae.evaluation.metrics.metric_rows import MetricRow
from ct_vae.evaluation.settings import build_settings


def test_the_terminal_alone_tells_which_mask_is_which(tmp_path, capsys):
    for name in ("Jane.nii.gz", "liver.nii.gz"):
        (tmp_path / name).touch()
    texts = [str(tmp_path / "Jane.nii.gz"), f"liver={tmp_path / 'liver.nii.gz'}"]
    settings = build_settings(masks=texts)
    assert [name for name, _ in settings.given.masks] == ["mask_1", "liver"]
    tell_masks(settings)
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
