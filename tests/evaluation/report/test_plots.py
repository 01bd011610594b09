import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ct_vae.evaluation.metrics.bland_altman import Agreement
from ct_vae.evaluation.report.axes import Axes
from ct_vae.evaluation.report.payload import ras_pair
from ct_vae.evaluation.report.plots import (
    bland_altman_plot,
    case_plots,
    histogram_plot,
    latent_plot,
    spectrum_plot,
)
from ct_vae.evaluation.report.survey import HISTOGRAM_HU
from ct_vae.evaluation.texture.noise import Texture
from tests.evaluation.latent_quality._quality import quality
from tests.evaluation.report._report import case_of, thorax


def marks(svg, tag):
    return ET.fromstring(svg).findall(f".//{tag}")


def histogram(**counts):
    values = np.zeros(2 * HISTOGRAM_HU + 1, np.int64)
    for hu, count in counts.items():
        values[HISTOGRAM_HU + int(hu.removeprefix("hu_"))] = count
    return SimpleNamespace(histogram=values)


def test_the_histogram_has_a_bar_per_step_that_holds_errors():
    bars = marks(histogram_plot(histogram(hu_0=90, hu_3=5, hu_40=4, hu_300=1)), "rect")
    heights = [float(bar.get("height")) for bar in bars]
    assert len(bars) == 3
    # 95, 4 and 1 of 100 on a scale whose floor is a hundredth.
    assert heights == pytest.approx([168 * np.log10(95) / 2, 168 * np.log10(4) / 2, 0], abs=0.1)
    assert histogram_plot(histogram()) == ""


def test_one_bar_alone_reaches_the_top():
    (bar,) = marks(histogram_plot(histogram(hu_10=70)), "rect")
    assert float(bar.get("height")) == pytest.approx(168)


def test_bland_altman_shows_each_region_and_the_limits():
    difference = np.array([1.0, 2.0, 3.0, -2.0])
    originals = np.array([0.0, 50.0, 100.0, 1000.0])
    svg = bland_altman_plot(Agreement(originals, originals + difference), "the mask liver")
    assert "inside the mask liver." in svg
    dots = [float(dot.get("cx")) for dot in marks(svg, "circle")]
    axes = Axes((0.5 - 0.05 * 998.5, 999 + 0.05 * 998.5), (-1, 1))
    assert dots == pytest.approx([axes.right(x) for x in (0.5, 51, 101.5, 999)], abs=0.06)
    spread = 1.96 * difference.std(ddof=1)
    assert "Bias 1.00 HU" in svg
    assert f"to {1 + spread:.2f} HU" in svg
    levels = [line for line in marks(svg, "line") if "line" in line.get("class").split()]
    assert [line.get("class") for line in levels] == ["line", "line dashed", "line dashed"]
    assert bland_altman_plot(Agreement(np.zeros(1), np.zeros(1)), "the body") == ""


def test_a_flat_difference_has_a_plot_too():
    values = np.full(5, 40.0)
    assert len(marks(bland_altman_plot(Agreement(values, values), "the body"), "circle")) == 5


def test_spectra_are_drawn_where_they_are_given():
    frequency = np.linspace(0, 0.5, 9)
    texture = Texture(
        *(9, 16, (8.0, 8.0)),
        noise_ratio=0.5,
        frequencies=tuple(frequency),
        nps=tuple(4 - 4 * frequency),
        nps_reconstruction=tuple(2 - 2 * frequency),
    )
    svg = spectrum_plot(texture)
    assert "0.50 of the original" in svg
    first, second = (line.get("points").split() for line in marks(svg, "polyline"))
    assert len(first) == len(second) == 9
    rise = [178 - float(points[0].split(",")[1]) for points in (first, second)]
    assert rise[0] == pytest.approx(2 * rise[1], abs=0.2)
    assert spectrum_plot(None) == spectrum_plot(Texture(0, 16, (8.0, 8.0))) == ""


def test_a_case_has_a_histogram_and_its_agreement():
    case = case_of(thorax())
    plots = case_plots(ras_pair(case).found, case)
    titles = [ET.fromstring(plot).find("figcaption/b").text for plot in plots]
    assert titles == ["Histogram of errors", "Bland-Altman"]


def test_spectra_of_latents_have_a_line_per_channel_and_that_of_white_noise():
    assert latent_plot(None) == ""
    svg = latent_plot(quality(4))
    assert svg.count("<polyline") == 4
    assert svg.count('class="line dashed"') == 1
    assert "flip error 0.20" in svg


def test_a_constant_latent_has_a_plot():
    constant = replace(quality(1).channels[0], spectrum=(0.0,) * 8)
    assert "white noise" in latent_plot(replace(quality(1), channels=(constant,)))
