"""The demonstration is stopped by a signal without a traceback, and goes on when run again."""

import os
import signal
import subprocess
import sys

import pytest

# Commands of the demonstration, of a size for tests.
_PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from demo import Steps
steps = Steps(Path("steps.json"))
steps.run("phantom", "-o", "ct", "--count", 1, "--anatomy", "thorax", "--spacing-mm", 16, 16, 16)
small = {
    "training.output_dir": '"run"', "training.samples": 400, "training.save_every": 400,
    "training.patch_size": [16, 16, 16], "data.phantoms.train": 1, "data.phantoms.val": 1,
    "training.lr_decay_samples": 10, "training.log_every": 8,
}
words = [word for item in small.items() for word in ("--set", "{}={}".format(*item))]
steps.run("train", "quickstart", *words, "--overwrite", again="--resume")
steps.finish()
print("all done")
"""


def start(repository, folder):
    return subprocess.Popen(
        [sys.executable, "-u", "-c", _PROGRAM, str(repository / "scripts")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def until(process, words):
    """Read lines up to one that has these words."""
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            return "".join(seen)
    pytest.fail(f"{words!r} did not come: {''.join(seen)}")


@pytest.mark.slow
def test_the_demonstration_goes_on_after_a_signal(repository, tmp_path):
    first = start(repository, tmp_path)
    before = until(first, "samples")
    first.send_signal(signal.SIGTERM)
    told = before + first.communicate(timeout=120)[0]
    assert first.returncode == 75, told
    assert "Traceback" not in told
    assert "stopped by SIGTERM; run it again to go on" in told
    second = start(repository, tmp_path)
    told = second.communicate(timeout=300)[0]
    assert second.returncode == 0, told
    assert "done before: ct-vae phantom" in told
    assert "--resume" in told
    assert told.endswith("all done\n")
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert not (tmp_path / "steps.json").exists()
