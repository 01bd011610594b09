import json

import pytest

from ct_vae.config.load import load_config
from ct_vae.config.schema import schema_text


def test_the_shipped_schema_is_current(repository):
    shipped = (repository / "configs" / "schema.json").read_text()
    assert shipped == schema_text(), "run: ct-vae config schema > configs/schema.json"


def test_every_key_is_described():
    definitions = json.loads(schema_text())["$defs"]
    bare = [
        f"{name}.{key}"
        for name, section in definitions.items()
        for key, value in section["properties"].items()
        if "description" not in value
    ]
    assert not bare


@pytest.mark.parametrize(
    "name",
    [
        "quickstart",
        "ct_f4",
        "ct_f4_base",
        "ct_f4_large",
        "ct_f4c16",
        "kl_f4",
        "kl_f8",
        "vq_f4",
        "magvit_f8",
        "sd_2d",
    ],
)
def test_every_shipped_configuration_loads(repository, name):
    config = load_config(repository / "configs" / f"{name}.json")
    assert config.notes
