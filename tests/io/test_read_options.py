import pytest

from ct_vae.errors import ConfigError
from ct_vae.io import ReadOptions


def test_options_out_of_range_are_refused():
    for wrong in ({"frame": -1}, {"nan": "zero"}, {"hu_offset": float("nan")}):
        with pytest.raises(ConfigError):
            ReadOptions(**wrong)


def test_options_are_given_by_name():
    given = {"hu_offset": -10.0, "nan": "air"}
    assert ReadOptions.named("Reader", given) == ReadOptions(hu_offset=-10.0, nan="air")
    with pytest.raises(ConfigError, match="Reader has no option 'hu_ofset'") as error:
        ReadOptions.named("Reader", {"hu_ofset": 1.0})
    assert error.value.hint == "did you mean hu_offset?"
    with pytest.raises(ConfigError) as error:
        ReadOptions.named("Reader", {"zzz": 1.0})
    assert error.value.hint.startswith("options are frame, nan, ")
