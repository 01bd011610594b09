import json

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from ct_vae.training.reporting import curves
from ct_vae.training.reporting.curves import write_curves
from ct_vae.training.reporting.run_log import read_log
from tests._asserts import assert_only_files


def step(samples, **more):
    line = {"samples_seen": samples, "reconstruction": 0.5, "reconstruction_weight": 1.0}
    return line | {"kl": 10.0, "kl_weight": 1e-3, "loss": 0.51, "lr": 1e-4, **more}


def validation(samples, **more):
    return {"samples_seen": samples, "val_rmse_hu_full": 60.0, "val_ssim_full": 0.9, **more}


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def drawn(path, lines):
    """The axes of the picture, by the first words of their titles."""
    write(path, lines)
    figure = curves._draw(read_log(path))
    return {axis.get_title().split(",")[0].split(":")[0]: axis for axis in figure.axes}


def labels(axis):
    return axis.get_legend_handles_labels()[1]


def test_terms_are_drawn_times_their_weights(tmp_path):
    axis = drawn(tmp_path / "m", [step(2), step(4, kl=20.0, kl_weight=2e-3)])["loss"]
    assert labels(axis) == ["loss", "reconstruction x weight", "kl x weight"]
    assert axis.lines[2].get_ydata() == pytest.approx([0.01, 0.04])
    assert axis.get_yscale() == "log"


def test_a_term_that_comes_in_late_or_is_negative_is_drawn(tmp_path):
    late = step(6, adversarial=-0.3, adversarial_weight=0.5)
    axis = drawn(tmp_path / "m", [step(2), step(4), late])["loss"]
    assert list(axis.lines[-1].get_xdata()) == [6]
    assert axis.lines[-1].get_ydata() == pytest.approx([-0.15])
    assert axis.get_yscale() == "symlog"


def test_long_curves_get_a_running_mean_over_the_faint_points(tmp_path):
    rng = np.random.default_rng(0)
    lines = [step(i, loss=1 + rng.normal() / 10) for i in range(1, 401)]
    bold, faint = drawn(tmp_path / "m", lines)["loss"].lines[:2]
    assert len(faint.get_ydata()) == 400
    assert np.std(bold.get_ydata()) < 0.5 * np.std(faint.get_ydata())
    assert np.mean(bold.get_ydata()) == pytest.approx(np.mean(faint.get_ydata()), abs=0.01)


def test_the_lowest_error_of_a_window_is_named(tmp_path):
    lines = [validation(s, val_rmse_hu_full=v) for s, v in ((2, 80.0), (4, 41.25), (6, 50.0))]
    axis = drawn(tmp_path / "m", lines)["validation"]
    assert labels(axis) == ["full, lowest 41.25"]
    assert axis.get_ylim()[0] == 0


def test_codes_or_else_channels_are_shown(tmp_path):
    channels = {f"val_latent_std_{i}": 1.0 + i for i in range(3)}
    axes = drawn(tmp_path / "m", [step(2, latent_std=1.0), validation(2, **channels)])
    assert labels(axes["standard deviation of the latent"]) == [
        "all channels, training",
        *(f"channel {i}, validation" for i in range(3)),
    ]
    axes = drawn(tmp_path / "m", [step(2, code_usage=0.1), validation(2, val_code_usage=0.4)])
    axis = axes["share of the codebook in use"]
    assert [c.get_ydata()[0] for c in axis.lines] == [0.1, 0.4]


@pytest.mark.parametrize(
    "lines",
    [[], [step(2)], [validation(2)], [step(2, kl=0.0, loss=0.0, reconstruction=0.0)]],
    ids=["none", "one step", "one validation", "zeros"],
)
def test_any_beginning_of_a_run_has_a_picture(tmp_path, lines):
    write(tmp_path / "m", lines)
    write_curves(tmp_path / "m", tmp_path / "p.png")
    assert imread(tmp_path / "p.png").shape[0] > 400
    assert_only_files(tmp_path, {"m", "p.png"})


def test_the_file_tells_nothing_but_the_picture(tmp_path):
    write(tmp_path / "m", [step(2)])
    write_curves(tmp_path / "m", tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        assert set(image.info) <= {"Software", "dpi"}
