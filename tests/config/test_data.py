import pytest

from ct_vae.config.load import parse_config
from ct_vae.errors import ConfigError


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"datalist": "a.json", "csv": "b.csv"},
            "give one source of volumes, got datalist and csv",
        ),
        ({"csv": "b.csv", "phantoms": {}}, "give one source of volumes"),
        ({"val": ["a"]}, "val needs train as well"),
        ({"train": ["a"], "val": ["b"], "val_share": 0.1}, "val and val_share both"),
        ({"val_share": 0.1}, "val_share has no effect on phantoms"),
        ({"train": ["a"], "val_share": 1.0}, "less than 1"),
        ({"train": ["a"], "patient_pattern": "("}, "not a regular expression"),
        ({"augment": {"flip": [0.5, 0.5]}}, "data.augment.flip"),
        ({"augment": {"flip": [0.5, 0.5, 1.5]}}, "data.augment.flip[2]"),
        ({"augment": {"rotate_degrees": 90}}, "less than or equal to 45"),
        ({"augment": {"zoom": -0.1}}, "greater than or equal to 0"),
        ({"augment": {"rotate": 5}}, "did you mean data.augment.rotate_degrees?"),
        ({"resize_to": 256}, "'resolution'"),
        ({"cache": "x"}, "did you mean data.cache_dir?"),
    ],
)
def test_contradictions_and_slips_are_reported(data, words):
    with pytest.raises(ConfigError) as caught:
        parse_config({"data": data}, "run.json")
    assert words in str(caught.value)


def test_nothing_is_augmented_cached_resized_or_split_by_default():
    data = parse_config({}, "run.json").data
    assert data.cache_dir is None
    assert data.resize_to is None
    assert data.val_share == 0
    assert data.augment.flip == (0, 0, 0)
    assert data.augment.rotate_degrees == data.augment.zoom == data.augment.noise_hu == 0
