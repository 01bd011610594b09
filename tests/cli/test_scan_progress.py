import pytest

from ct_vae.cli import scan_progress
from ct_vae.cli.scan_progress import ScanProgress


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only when told."""
    now = [100.0]
    monkeypatch.setattr(scan_progress.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_come_now_and_then_and_at_the_end(clock, capsys):
    with ScanProgress() as progress:
        for files in range(1, 4):
            clock[0] += 6
            progress.looked_into(files)
        progress.begin(4)
        for place in range(1, 5):
            clock[0] += 6
            progress.did(place, 4)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["2 files searched", "[2/4] read", "[4/4] read"]


def test_a_terminal_gets_a_bar_on_stderr(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with ScanProgress() as progress:
        progress.looked_into(7)
        progress.begin(4)
        progress.did(3, 4)
        progress._bar.refresh()
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading" in err
    assert "3/4" in err
    assert "[3/4] read" not in err
