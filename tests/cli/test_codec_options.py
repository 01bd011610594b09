from dataclasses import fields, replace

import pytest

from ct_vae.cli.codec_options import CODEC_GROUP, CodecOptions
from ct_vae.errors import ConfigError
from ct_vae.inference.tiling import Tiling

DEFAULTS = CodecOptions(**{name: default for name, (_, default) in CODEC_GROUP.options.items()})


def test_every_option_has_a_value():
    assert CODEC_GROUP.options.keys() == {field.name for field in fields(CodecOptions)}


def test_without_options_the_model_keeps_its_configuration(model_folder):
    codec = DEFAULTS.load(model_folder)
    assert codec.tiling == Tiling()
    assert (codec.precision, codec.fallback, codec.tell) == ("fp32", None, None)


def test_options_override_one_by_one(model_folder):
    given = replace(
        DEFAULTS, device="cpu", tiling="blend", tile=32, max_memory_gb=3.0, verbose=True
    )
    codec = given.load(model_folder, "cpu")
    assert codec.tiling == Tiling("blend", 32, Tiling().overlap, 3.0)
    assert codec.network.device.type == codec.fallback == "cpu"
    assert codec.tell is not None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tile": 32, "overlap": 0.5}, "--tile, --overlap would have no effect"),
        ({"tile_batch": 2}, "--tile-batch would have no effect"),
        ({"device": "cuda:99"}, "'cuda:99' does not exist"),
        ({"precision": "tf32"}, "tf32 is for GPUs"),
    ],
)
def test_options_without_effect_and_absent_devices_are_refused(model_folder, given, words):
    with pytest.raises(ConfigError, match=words):
        replace(DEFAULTS, **({"device": "cpu"} | given)).load(model_folder)
