import pytest
import torch

from ct_vae.convert_weights.checkpoint_format import (
    ConversionReport,
    common_limits,
    integer,
    latent_scale,
    latent_shift,
    refuse_unless,
    stable_diffusion_limits,
)
from ct_vae.convert_weights.checkpoint_formats import FORMATS
from ct_vae.errors import WeightsError
from tests.convert_weights._forms import OF, exported
from tests.models._small import small_model

NOT_NUMBERS = ["0.5", True, float("nan"), float("inf"), [1.0]]


@pytest.mark.parametrize("form", OF)
def test_a_configuration_comes_from_canonical_weights_and_agrees_with_them(form):
    fmt, report = FORMATS[form], ConversionReport()
    state, config = exported(form)
    canonical = fmt.to_canonical(state, report)
    given = fmt.flatten(config)
    found = fmt.read(canonical, given, report)
    fmt.compare(found, canonical, given)
    back = fmt.from_canonical(canonical)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    with pytest.raises(WeightsError, match=r"unknown keys: aa, zz; remove them"):
        fmt.read(canonical, given | {"zz": 1, "aa": 2, "_private": 3}, report)


@pytest.mark.parametrize("form", OF)
def test_every_parameter_has_one_name_in_every_format(form):
    model = small_model(**OF[form])
    names = [FORMATS[form].name(own, model.config) for own in model.state_dict()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 0, -1.0])
def test_a_scale_must_be_positive(value):
    with pytest.raises(WeightsError, match="scale_factor is a positive number"):
        latent_scale({"scale_factor": value}, ConversionReport())


def test_a_scale_that_is_absent_is_assumed_and_reported():
    report = ConversionReport()
    assert latent_scale({"scaling_factor": 2}, report) == 2.0
    assert latent_scale({"scaling_factor": None}, report) == 0.18215
    assert [line.split(":")[0] for line in report.lines] == ["read", "assumed"]


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_a_shift_must_be_finite(value):
    with pytest.raises(WeightsError, match="shift_factor is a finite number"):
        latent_shift({"shift_factor": value}, ConversionReport())
    assert latent_shift({"shift_factor": -1}, ConversionReport()) == -1.0
    assert latent_shift({}, ConversionReport()) == 0.0


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "2", None])
def test_integers_are_positive(value):
    with pytest.raises(WeightsError, match="n is a positive integer"):
        integer({"n": value}, "n", 1)
    assert integer({}, "n", 3) == 3


def test_other_values_are_refused_with_those_that_are_supported():
    refuse_unless({}, "mode", [1, 2], 1)
    with pytest.raises(WeightsError, match="mode 3 is not supported, only 1 or 2"):
        refuse_unless({"mode": 3}, "mode", [1, 2], 1)


@pytest.mark.parametrize(
    ("numbers", "limits"),
    [
        ({}, []),
        ({"norm": "rms", "norm_groups": None}, ["norm 'rms'"]),
        ({"patch_size": 2}, ["patch_size [2, 2, 2]"]),
        ({"linear_skip": True, "refine_channels": 8}, ["a linear_skip", "8 refine_channels"]),
    ],
)
def test_features_that_no_format_has_are_listed(numbers, limits):
    assert common_limits(small_model(**numbers).config) == limits


def test_features_that_stable_diffusion_lacks_are_listed():
    config = small_model(encoder_mid=False, upsample_mode="linear").config
    assert stable_diffusion_limits(config) == [
        "spatial_dims 3",
        "encoder_mid false",
        "upsample_mode 'linear'",
    ]
    assert stable_diffusion_limits(small_model(spatial_dims=2).config) == []
