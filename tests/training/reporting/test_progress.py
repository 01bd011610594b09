import math
import time

import pytest

from ct_vae.progress import report_stage, reporting_to
from ct_vae.training.reporting import progress
from ct_vae.training.reporting.progress import Progress
from ct_vae.training.step_metrics import StepMetrics


def values(**changes) -> StepMetrics:
    facts = {
        "loss": 0.1234,
        "losses": {"reconstruction": 0.05, "kl": 12.0},
        "weights": {"reconstruction": 1.0, "kl": 1e-4},
        "grad_norm": 1.0,
        "latent_std": 1.0,
        "mae": 0.01,
        "mse": 4e-4,
    }
    return StepMetrics(**{**facts, **changes})


@pytest.fixture
def seconds(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_tell_loss_psnr_pace_and_time_left(capsys, seconds):
    with Progress(1000) as shown:
        seconds[0] += 20
        shown.show(100, values(), hu_per_unit=1000.0)
    line = capsys.readouterr().err
    # An RMSE of 20 HU.
    psnr = 20 * math.log10(4024 / 20)
    assert f"100/1000 samples, loss 0.1234, PSNR {psnr:.1f} dB of 4024 HU" in line
    assert "MAE 10.0 HU" in line
    assert "reconstruction 0.05" in line
    assert "kl 12" in line
    assert "5 samples/s, 3 min left" in line
    assert capsys.readouterr().out == ""


def test_a_resumed_run_has_the_pace_of_this_process(capsys, seconds):
    with Progress(1000, start=900) as shown:
        seconds[0] += 10
        shown.show(950, values(), 1000.0)
    line = capsys.readouterr().err
    assert "950/1000 samples" in line
    assert "5 samples/s, 10 s left" in line


def test_plain_lines_are_few(capsys, seconds):
    with Progress(1000) as shown:
        for i in range(1, 101):
            seconds[0] += 0.5
            shown.show(i, values(), 1000.0)
    assert len(capsys.readouterr().err.splitlines()) == 5


def test_codes_and_discriminator_are_told_where_there_are_some(capsys):
    with Progress(10) as shown:
        told = values(codes={"code_usage": 0.5}, discriminator={"real": 0.75})
        shown.show(2, told, 1000.0)
    line = capsys.readouterr().err
    assert "code usage 0.5" in line
    assert "real 0.75" in line


def test_other_ranks_are_quiet(capsys):
    with Progress(10, quiet=True) as shown:
        shown.show(2, values(), 1000.0)
        shown.note(2, {"val_rmse_hu_full": 30.0})
        shown.say("something")
    assert capsys.readouterr() == ("", "")


def test_a_perfect_step_has_an_infinite_psnr(capsys):
    with Progress(10) as shown:
        shown.show(2, values(mse=0.0), 1000.0)
    assert "PSNR inf dB" in capsys.readouterr().err


def test_a_validation_and_other_news_are_one_line_each(capsys):
    with Progress(10) as shown:
        shown.note(4, {"val_rmse_hu_full": 30.123, "val_ssim_full": 0.98765, "val_latent_std_0": 1})
        shown.say("[half] the batch " + "long " * 60)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "4/10 samples, validation: rmse_hu_full 30.12, ssim_full 0.9877"
    assert second.startswith("[half] the batch long")


def test_a_terminal_has_a_bar_that_begins_where_the_run_was(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(progress, "_PLAIN_LINE_EVERY_S", 0.0)
    with Progress(100, start=50) as shown:
        shown.show(75, values(), 1000.0)
    text = capsys.readouterr().err
    assert "50%" in text
    assert "75%" in text
    assert "dB of 4024 HU" in text
    assert "75/100 samples" not in text


def test_stages_of_a_validation_are_not_reported_between_the_lines_of_a_run():
    class Stages(list):
        def stage(self, name, *_):
            self.append(name)

    stages = Stages()
    with reporting_to(stages):
        report_stage("reading")
        with Progress(10):
            report_stage("encoding")
        report_stage("saving")
    assert stages == ["reading", "saving"]


def test_stages_are_reported_again_if_the_terminal_is_gone(monkeypatch):
    class Stages(list):
        def stage(self, name, *_):
            self.append(name)

    def fail():
        raise BrokenPipeError

    stages = Stages()
    with reporting_to(stages):
        with Progress(10) as shown:
            monkeypatch.setattr(shown._bar, "stop", fail)
        report_stage("saving")
    assert stages == ["saving"]
