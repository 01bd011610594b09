import pytest
from typer.testing import CliRunner

from ct_vae import terminal
from ct_vae.cli import progress as module
from ct_vae.cli.main import app
from ct_vae.cli.progress import PlainLines, displayed_progress
from ct_vae.io import write_volume
from ct_vae.phantoms.make_phantom import make_phantom
from tests.cli._run import process
from tests.cli._terminal import plain, run_in_terminal

_LONG_STAGES = """
import time
from ct_vae.cli.progress import displayed_progress
from ct_vae.progress import report_case, report_fraction, report_stage
from ct_vae.terminal import say, show
with displayed_progress():
    for number in (1, 2):
        report_case(number, 2, f"scan_{number}")
        report_stage("reading")
        time.sleep(1.2)
        report_stage("encoding", 30_000_000)
        for step in range(4):
            time.sleep(0.3)
            report_fraction((step + 1) / 4)
        say(f"scan_{number} is done\\x1b[31m")
    show("result")
"""


def test_a_bar_moves_within_a_second_of_the_start_of_each_stage(tmp_path):
    run = run_in_terminal("-c", _LONG_STAGES, cwd=tmp_path)
    assert run.code == 0
    assert run.out == "result\n"
    for number in (1, 2):
        for stage in ("reading", "encoding"):
            shown = [(s, t) for s, t in run.frames if f"scan_{number}: {stage}" in plain(t)]
            start = shown[0][0]
            different = {plain(text) for second, text in shown if second - start < 1}
            assert len(different) > 1, (number, stage)
    text = run.terminal
    assert "50%" in text
    assert "Mvoxel/s" in text
    assert "cases/min" in text
    assert "left" in text
    assert "1/2" in text
    assert "scan_1 is done\\x1b[31m" in text


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for name in ("a", "b"):
        write_volume(make_phantom("thorax", 1, 8.0), folder / f"{name}.nii.gz")
    return folder


@pytest.mark.slow
def test_commands_show_case_and_stage_on_a_terminal_and_leave_lines_only(scans, tmp_path):
    run = run_in_terminal("-m", "ct_vae", "encode", "ct-f4", scans, "-o", "latents", cwd=tmp_path)
    assert run.code == 0, run.terminal
    text = run.terminal
    for stage in ("starting", "searching for volumes", "loading the model", "a: encoding"):
        assert stage in text
    assert "all cases" in text
    assert "[1/2] latents/a_latent.nii.gz" in text
    assert run.frames[0][0] < run.frames[-1][0]


def test_a_pipe_gets_lines_without_bars(scans, model_folder, tmp_path):
    done = process("reconstruct", model_folder, scans, "-o", tmp_path / "out")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert [line[:6] for line in lines] == ["[1/2] ", "[2/2] ", "recons"]
    assert "\x1b" not in done.stderr


@pytest.mark.filterwarnings("ignore::ct_vae.models.autoencoder.UntrainedWarning")
def test_quiet_training_prints_the_run_folder_only(tmp_path):
    small = {
        "training.output_dir": tmp_path / "run",
        "training.samples": 4,
        "training.batch_size": 2,
        "training.patch_size": "[16,16,16]",
        "training.lr_decay_samples": 2,
        "data.phantoms.train": 1,
        "data.phantoms.val": 1,
        "data.phantoms.spacing_mm": "[16,16,16]",
    }
    words = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    done = CliRunner().invoke(app, ["train", "quickstart", *words, "--quiet"])
    assert done.exit_code == 0, done.output
    assert (done.stdout, done.stderr) == (f"{tmp_path / 'run'}\n", "")


def test_bars_are_hidden_while_a_table_is_printed(monkeypatch):
    made = []
    make = module._make_display
    monkeypatch.setattr(module, "_make_display", lambda: made.append(make()) or made[-1])
    monkeypatch.setattr(terminal, "shows_bars", lambda: True)
    with displayed_progress():
        live = made[0][0].live
        assert live.is_started
        with terminal.without_bars():
            assert not live.is_started
        assert live.is_started
    assert not live.is_started
    with terminal.without_bars():
        assert not live.is_started


@pytest.mark.parametrize(("rank", "bars"), [(None, True), ("0", True), ("1", False)])
def test_only_the_first_process_of_a_run_draws_bars(monkeypatch, rank, bars):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert terminal.shows_bars() is bars


@pytest.mark.parametrize(
    ("command", "results"),
    [
        (["reconstruct", "MODEL", "SCANS", "-o", "OUT"], False),
        (["bundle", "MODEL", "-o", "OUT"], True),
        (["verify", "SCANS"], True),
        (["scan", "SCAN", "--val-share", "0", "--test-share", "0"], True),
        (["sample", "MODEL", "-o", "OUT", "SCAN", "--count", "0"], True),
    ],
)
def test_quiet_leaves_results(command, results, scans, model_folder, tmp_path):
    places = {"MODEL": model_folder, "SCANS": scans, "OUT": tmp_path / "out"}
    places["SCAN"] = scans / "a.nii.gz"
    words = [str(places.get(word, word)) for word in command]
    done = CliRunner().invoke(app, [*words, "--quiet"])
    assert done.exit_code == 0
    assert bool(done.stdout) == results
    assert done.stderr == ""


def test_quiet_keeps_warnings_and_errors(capsys):
    with displayed_progress(quiet=True):
        for line in ("[1/2] done", "warning: odd", "error: bad"):
            terminal.say(line)
        terminal.show("result")
    terminal.say("after")
    shown = capsys.readouterr()
    assert shown.out == "result\n"
    assert shown.err == "warning: odd\nerror: bad\nafter\n"


def test_a_long_case_is_reported_by_a_line_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    lines = PlainLines()
    lines.case(2, 3, "scan")
    lines.stage("encoding", 5_000_000, "voxels")
    for step in range(1, 7):
        now[0] = 15.0 * step
        lines.fraction(step / 10)
    now[0] = 120.0
    lines.stage("checking", 7, "cases")
    assert capsys.readouterr().err.splitlines() == [
        *(f"[2/3] scan: encoding 5 Mvoxel {percent}%" for percent in (20, 40, 60)),
        "[2/3] scan: checking 7 cases",
    ]
