import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.config.windows import WINDOWS, Window, parse_window
from ct_vae.errors import ConfigError


def test_full_window_is_the_whole_scale():
    assert (WINDOWS["full"].low, WINDOWS["full"].high, WINDOWS["full"].width) == (-1024, 3000, 4024)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("lung", -1350, 150),
        ("soft_tissue", -160, 240),
        ("brain", 0, 80),
        ("temporal_bone", -800, 2000),
    ],
)
def test_named_windows_span_level_plus_minus_half_the_width(name, low, high):
    assert (WINDOWS[name].low, WINDOWS[name].high) == (low, high)


@pytest.mark.parametrize(
    "text", ["soft_tissue", "Soft Tissue", "soft-tissue", "soft_tissue:400/40"]
)
def test_names_are_found_however_they_are_spelt(text):
    assert parse_window(text) == WINDOWS["soft_tissue"]


@given(st.floats(0.1, 5000), st.floats(-1000, 3000))
def test_custom_windows_survive_their_text(width, level):
    assert parse_window(f"mine:{width!r}/{level!r}") == Window("mine", width, level)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bones",
        "x:",
        "x:400",
        "x:400/",
        "x:a/b",
        "x:0/40",
        "x:-4/40",
        "x:nan/0",
        "x:4/inf",
        ":400/40",
        "x:1/2/3",
        f"x:{math.inf}/0",
    ],
)
def test_anything_else_is_refused_with_the_choices(text):
    with pytest.raises(ConfigError, match="soft_tissue"):
        parse_window(text)


def test_a_known_name_cannot_mean_something_else():
    with pytest.raises(ConfigError, match="400/40"):
        parse_window("soft_tissue:350/50")
