import json

import pytest

from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.convert_weights.units import EmbeddedMetadata, export_metadata, read_embedded, settle
from ct_vae.errors import ConfigError, WeightsError

OWN = PreprocessConfig(
    axcodes="LPS", spacing_mm=(1.0, 2.0, 3.0), window_hu=(-160.0, 240.0), model_range=(0.0, 2.0)
)


@pytest.mark.parametrize("preprocess", [OWN, PreprocessConfig()])
def test_what_an_export_says_comes_back(preprocess):
    assert read_embedded(export_metadata(preprocess, 0.3), "x") == EmbeddedMetadata(preprocess, 0.3)


@pytest.mark.parametrize("gone", ["window_hu", "model_range"])
def test_half_of_a_mapping_is_none(gone):
    told = export_metadata(OWN, 0.3)
    del told[gone]
    assert read_embedded(told, "x") == EmbeddedMetadata(None, 0.3)


def test_texts_of_other_programs_say_nothing():
    assert read_embedded({"format": "pt", "license": "x"}, "x") == EmbeddedMetadata()
    old = {"window_hu": "[-160, 240]", "model_range": "[0, 2]"}
    mapped = PreprocessConfig(window_hu=(-160.0, 240.0), model_range=(0.0, 2.0))
    assert read_embedded(old, "x") == EmbeddedMetadata(mapped, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"window_hu": "[5, 5]"}, "x, metadata of the weights: .*from low to high"),
        ({"window_hu": "{"}, "x, metadata of the weights: not JSON"),
        ({"model_range": "1"}, "model_range"),
        ({"axcodes": '"XYZ"'}, "axcodes"),
        ({"scaling_factor": "0"}, "scaling_factor in the metadata is a positive number, got 0"),
        ({"scaling_factor": "-1.5"}, "got -1.5"),
        ({"scaling_factor": "true"}, "got True"),
        ({"scaling_factor": '"a"'}, "got 'a'"),
        ({"scaling_factor": "Infinity"}, "got inf"),
    ],
)
def test_texts_that_make_no_sense_are_refused(changes, words):
    with pytest.raises(WeightsError, match=words) as caught:
        read_embedded(export_metadata(OWN, 0.3) | changes, "x")
    assert "\n" not in str(caught.value)
    assert json.loads(export_metadata(OWN, 0.3)["window_hu"]) == [-160, 240]


WINDOW, UNITS = (-5.0, 5.0), (0.0, 3.0)


@pytest.mark.parametrize(
    ("form", "own", "window", "units", "expected"),
    [
        (None, OWN, None, None, ("kept", OWN.window_hu, OWN.model_range)),
        (None, OWN, WINDOW, None, ("assumed", WINDOW, OWN.model_range)),
        (None, OWN, None, UNITS, ("assumed", OWN.window_hu, UNITS)),
        (None, OWN, WINDOW, UNITS, ("given", WINDOW, UNITS)),
        ("monai", OWN, None, None, ("read, from the export", OWN.window_hu, OWN.model_range)),
        ("maisi", OWN, None, None, ("read, from the export", OWN.window_hu, OWN.model_range)),
        ("maisi", None, None, None, ("read, as in every MAISI", (-1000, 1000), (0, 1))),
        ("maisi", None, WINDOW, None, ("assumed", WINDOW, (0, 1))),
        ("compvis", None, None, None, ("assumed", (-1000, 1000), (-1, 1))),
        ("diffusers", None, None, UNITS, ("assumed", (-1000, 1000), UNITS)),
        ("monai", None, None, UNITS, ("assumed", (-1000, 1000), UNITS)),
        ("monai", None, WINDOW, UNITS, ("given", WINDOW, UNITS)),
    ],
)
def test_what_is_reported_comes_before_what_is_read_and_that_before_what_is_usual(
    form, own, window, units, expected
):
    preprocess, said = settle(form, own, window, units)
    assert said.startswith(f"{expected[0]}")
    assert (preprocess.window_hu, preprocess.model_range) == expected[1:]
    base = own or PreprocessConfig()
    assert (preprocess.axcodes, preprocess.spacing_mm) == (base.axcodes, base.spacing_mm)


def test_nothing_tells_what_monai_takes():
    with pytest.raises(ConfigError, match="--model-range"):
        settle("monai", None, WINDOW, None)
