import re

import numpy as np
import pytest

from ct_vae.evaluation.pictures.method_styles import METHODS
from ct_vae.evaluation.rate_distortion.summary import CaseCurves, summarize_curves
from ct_vae.evaluation.report.headline import bar_plots, curve_plot, headline
from ct_vae.evaluation.tables import summarize
from tests.evaluation.rate_distortion._curves import RATES, power_curve
from tests.evaluation.report._report import case_of, thorax

CURVES = CaseCurves(
    "case_0001",
    (power_curve("model", 10, 0.5, RATES), power_curve("sperr", 20, 0.5, RATES)),
    {"body": 10.0, "soft_tissue": 10.0},
    1.5,
)


@pytest.fixture(scope="module")
def summary():
    return summarize(case_of(thorax()).rows)


def medians(summary, window):
    return {g["what"]: g["rmse"]["median"] for g in summary["groups"] if g["window"] == window}


def test_bars_are_as_long_as_the_errors(summary):
    plots = bar_plots(summary)
    assert len(plots) == 2
    for plot, window in zip(plots, ("full", "soft_tissue"), strict=True):
        found = medians(summary, window)
        widths = [float(w) for w in re.findall(r'<rect[^>]* width="([\d.]+)"', plot)]
        assert METHODS["reconstruction"].color in plot
        assert widths[0] / widths[1] == pytest.approx(
            found["reconstruction"] / found["resample"], rel=0.01
        )
        assert f">{found['reconstruction']:.1f}</text>" in plot


def test_curves_take_the_place_of_bars(summary):
    text = headline(summary, [], {"on disk": 1.25})
    assert "Shorter is better" in text
    assert "Bits per voxel: 1.250 on disk." in text
    error = medians(summary, "full")["reconstruction"]
    assert f"mask body: {error:.1f} HU in the full window" in text
    both = summary | {"rate_distortion": summarize_curves([CURVES])}
    text = headline(both, [CURVES], {"on disk": 1.5, "at +1 % RMSE (body)": None})
    assert "Shorter is better" not in text
    assert "Bits per voxel: 1.500 on disk." in text
    assert 'class="word">SPERR</th>' in text
    # A quarter of the bits.
    assert "<td>\N{MINUS SIGN}75</td>" in text


def test_points_of_a_curve_are_equally_far_apart_on_logarithmic_scales():
    plot = curve_plot([CURVES], "body")
    line = re.search(rf'stroke="{METHODS["sperr"].color}"[^>]*points="([^"]*)"', plot)[1]
    points = np.array([point.split(",") for point in line.split()], float)
    steps = np.diff(points, axis=0)
    assert np.ptp(steps, axis=0).max() < 0.3
    assert (steps[:, 0] > 0).all()
    # Errors fall, and the vertical axis of SVG runs downward.
    assert (steps[:, 1] > 0).all()


def test_without_a_model_the_reconstructions_are_levels():
    alone = CaseCurves("a", CURVES.curves[1:], {"body": 50.0, "soft_tissue": 50.0})
    plot = curve_plot([alone], "body")
    assert plot.count('class="line dashed"') == 1
    assert METHODS["model"].color not in plot
    assert curve_plot([CaseCurves("a", (), alone.errors)], "body") == ""


def test_an_empty_summary_has_no_chart():
    assert bar_plots({}) == []
    assert "svg" not in headline({}, [], {})
