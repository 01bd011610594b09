import numpy as np
import pytest

from ct_vae.evaluation.rate_distortion.summary import CaseCurves, summarize_curves
from tests.evaluation.rate_distortion._curves import RATES, power_curve

ERRORS = {"body": 10.0, "soft_tissue": 10.0}


def case(name, ratio):
    """The codec needs `ratio` times the bits of the model, at any error."""
    model = power_curve("model", 10, 0.5, RATES)
    codec = power_curve("jpeg2000", 10 * ratio**0.5, 0.5, RATES)
    return CaseCurves(name, (model, codec), ERRORS, 2.0)


def test_figures_are_medians_over_cases():
    found = summarize_curves([case("a", 2), case("b", 4), case("c", 8)])
    assert (found["cases"], found["bits_on_disk"]) == (3, 2.0)
    (method,) = found["body"]["methods"]
    assert method["method"] == "jpeg2000"
    assert method["bd_rate"] == pytest.approx(100 * (1 / 4 - 1))
    assert method["crossings"] == []
    assert found["soft_tissue"] == found["body"]


def test_the_rate_at_a_rise_of_one_percent_is_on_the_models_curve():
    found = summarize_curves([case("a", 2)])
    # 10 r^-0.5 = 1.01 * 10
    assert found["body"]["bits_at_1_percent"] == pytest.approx(1.01**-2)
    (method,) = found["body"]["methods"]
    assert method["bits_at_equal_error"] is None
    near = CaseCurves("a", case("a", 2).curves, {"body": 20.0, "soft_tissue": 20.0})
    (method,) = summarize_curves([near])["body"]["methods"]
    assert method["bits_at_equal_error"] == pytest.approx(2 * 0.25)


def test_codecs_alone_have_no_figure_of_a_model():
    alone = CaseCurves("a", case("a", 2).curves[1:], {"body": 20.0, "soft_tissue": 20.0})
    found = summarize_curves([alone])
    assert found["bits_on_disk"] is None
    assert found["body"]["bits_at_1_percent"] is None
    (method,) = found["body"]["methods"]
    assert method["bd_rate"] is None
    assert method["bits_at_equal_error"] == pytest.approx(0.5)


def test_lines_list_every_point():
    lines = case("a", 2).lines()
    assert len(lines) == 2 * len(RATES)
    assert {line["method"] for line in lines} == {"model", "jpeg2000"}
    np.testing.assert_allclose([line["bits_per_voxel"] for line in lines[: len(RATES)]], RATES)
