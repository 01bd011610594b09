"""Every kind of model trains: shipped configurations at reduced width, codes and all."""

import json
import math

import pytest
import torch

from ct_vae.config.load import load_config
from ct_vae.config.run import RunConfig
from ct_vae.inference.codec import load_codec
from ct_vae.training import train
from tests._small import SMALL_CODES, ct_volume
from tests.training.test_trainer import config, metrics, patches

SHIPPED = ("quickstart", "ct_f4_stage1", "kl_f4", "kl_f8", "vq_f4", "magvit_f8", "sd_2d")


def reduced(path, folder) -> RunConfig:
    """The shipped configuration with an eighth of its width, for one step."""
    tree = load_config(path).as_json()
    model = tree["model"]
    if model["down_channels"]:
        model["down_channels"] = [n // 8 for n in model["down_channels"]]
    model["base_ch"] //= 8
    side = [16] * model["spatial_dims"]
    tree["data"] = {}
    tree["training"] |= {
        "output_dir": str(folder),
        "samples": 2,
        "batch_size": 2,
        "patch_size": side,
        "warmup_samples": 0,
        "log_every": 1,
    }
    return RunConfig.model_validate_json(json.dumps(tree))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_configuration_trains_a_step(repository, tmp_path, name):
    settings = reduced(repository / "configs" / f"{name}.json", tmp_path / "run")
    generator = torch.Generator().manual_seed(0)
    sides = settings.training.patch_size
    data = [300 * torch.randn(1, *sides, generator=generator) for _ in range(2)]
    folder = train(data, settings)
    (line,) = [row for row in metrics(folder) if "loss" in row]
    assert math.isfinite(line["loss"])
    assert line["skipped_steps"] == 0
    assert line["grad_norm"] > 0


@pytest.mark.parametrize("kind", SMALL_CODES)
def test_a_model_with_codes_becomes_a_model_folder(kind, tmp_path):
    settings = config(tmp_path / "run").model_copy(update={"model": SMALL_CODES[kind]})
    folder = train(patches(), settings, [ct_volume()])
    line = next(row for row in metrics(folder) if "loss" in row)
    assert {"perplexity", "code_usage"} <= line.keys()
    assert ("commitment" in line) == (kind == "vq")
    assert "kl" not in line
    codec = load_codec(folder)
    assert codec.identity.latent_type == kind
    assert codec.encode(ct_volume()).array.shape == (4, 3, 3)


def test_a_codebook_travels_with_the_averaged_weights(tmp_path):
    settings = config(tmp_path / "run").model_copy(update={"model": SMALL_CODES["vq"]})
    quantizer = load_codec(train(patches(), settings)).network.model.quantizer
    assert bool(quantizer.initialised)
    assert quantizer.codes.std() > 0
