import json

import pytest

from ct_vae.bundle.metadata import Imprint, bundle_metadata
from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from tests._small import SMALL_CODES, SMALL_MODEL, small_model


def test_formats_are_those_of_the_specification(bundle):
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    formats = [
        (
            metadata[f"{way}_data_format"]["inputs"]["image"],
            metadata[f"{way}_data_format"]["outputs"],
        )
        for way in ("network", "encoder", "decoder")
    ]
    found = [(given["format"], made["pred"]["format"]) for given, made in formats]
    assert found == [
        ("hounsfield", "hounsfield"),
        ("hounsfield", "latent"),
        ("latent", "hounsfield"),
    ]
    assert formats[0][0]["spatial_shape"] == ["4*n", "4*n", "4*n"]
    assert "ct_vae" in metadata["required_packages_version"]


@pytest.mark.parametrize(("kind", "channels"), [("kl", 4), ("magvit", 6)])
def test_numbers_are_those_of_the_model(kind, channels):
    base = {"kl": SMALL_MODEL, **SMALL_CODES}[kind]
    config = ModelFolderConfig(
        name="mine",
        model=base,
        preprocess=PreprocessConfig(window_hu=(-900.0, 700.0)),
        latent=LatentConfig(scaling_factor=1.0),
    )
    imprint = Imprint("A", "B", "2.0.0")
    metadata = bundle_metadata(config, small_model(base=base), {"rmse": 1.5}, imprint)
    image = metadata["encoder_data_format"]["inputs"]["image"]
    latent = metadata["encoder_data_format"]["outputs"]["pred"]
    assert (image["num_channels"], image["value_range"]) == (1, [-900.0, 700.0])
    assert (latent["num_channels"], len(latent["channel_def"])) == (channels, channels)
    assert latent == metadata["decoder_data_format"]["inputs"]["image"]
    assert image == metadata["decoder_data_format"]["outputs"]["pred"]
    assert (metadata["authors"], metadata["copyright"], metadata["version"]) == ("A", "B", "2.0.0")
    assert metadata["eval_metrics"] == {"rmse": 1.5}
    json.dumps(metadata)
