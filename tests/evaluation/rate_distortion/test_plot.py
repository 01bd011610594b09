import matplotlib.image
import pytest

from ct_vae.evaluation.pictures.method_styles import METHODS
from ct_vae.evaluation.rate_distortion.plot import write_plot
from ct_vae.evaluation.rate_distortion.summary import CaseCurves
from tests.evaluation.rate_distortion._curves import RATES, power_curve

CASE = CaseCurves(
    "case_0001",
    (power_curve("model", 10, 0.5, RATES), power_curve("sperr", 20, 0.5, RATES)),
    {"body": 10.0, "soft_tissue": 10.0},
)


@pytest.mark.parametrize("curves", [CASE.curves, CASE.curves[1:], ()])
def test_the_picture_shows_the_methods_in_their_colors(tmp_path, curves):
    case = CaseCurves("case_0001", curves, CASE.errors)
    write_plot([case], tmp_path / "plot.svg", title="a <model>")
    text = (tmp_path / "plot.svg").read_text()
    for curve in CASE.curves:
        style = METHODS[curve.name]
        assert (style.label in text.replace("a &lt;model&gt;", "")) == (curve in curves)
        assert (style.color in text) >= (curve in curves)
    assert "a &lt;model&gt;" in text
    write_plot([case], tmp_path / "again.svg", title="a <model>")
    assert (tmp_path / "again.svg").read_text() == text


def test_a_png_can_be_read(tmp_path):
    write_plot([CASE, CASE], tmp_path / "plot.png")
    pixels = matplotlib.image.imread(tmp_path / "plot.png")
    assert pixels.shape[1] > 1000
    assert pixels[..., :3].std() > 0
