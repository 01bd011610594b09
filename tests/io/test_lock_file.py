import os

import pytest

from ct_vae.datasets.cache.volume_cache import VolumeCache
from ct_vae.errors import OutputError
from ct_vae.io.lock_file import open_lock_file
from ct_vae.training.checkpoints.lock import run_lock
from ct_vae.training.reporting.run_log import RunLog


def test_it_is_made_and_opened_again(tmp_path):
    for _ in range(2):
        os.close(open_lock_file(tmp_path / "lock"))
    assert (tmp_path / "lock").read_bytes() == b""


@pytest.mark.parametrize("plant", [os.symlink, os.link])
@pytest.mark.parametrize(
    ("name", "use"),
    [
        (".lock", lambda folder: run_lock(folder).__enter__()),
        ("locks", lambda folder: VolumeCache(folder).writing("0" * 64, wait=False).__enter__()),
    ],
)
def test_a_planted_link_costs_nothing_that_it_leads_to(tmp_path, plant, name, use):
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("precious")
    folder.mkdir()
    plant(victim, folder / name)
    with pytest.raises(OutputError, match="something else has this name"):
        use(folder)
    assert victim.read_text() == "precious"


def test_a_log_follows_no_link(tmp_path):
    (tmp_path / "victim").write_text("precious without an end of line")
    (tmp_path / "metrics.jsonl").symlink_to("victim")
    with pytest.raises(OutputError, match="something else has this name"):
        RunLog(tmp_path / "metrics.jsonl")
    assert (tmp_path / "victim").read_text() == "precious without an end of line"


def test_a_device_is_no_lock_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="link or a device"):
        open_lock_file(tmp_path / "pipe")
