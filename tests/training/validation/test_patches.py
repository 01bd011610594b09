import numpy as np
import pytest
import torch

from ct_vae.config.run import RunConfig
from ct_vae.training.validation.patches import PatchValidator
from tests._small import SMALL_CODES, SMALL_MODEL, small_model


def patch(*sides, channels=1):
    generator = torch.Generator().manual_seed(0)
    return 200 * torch.randn(channels, *sides, generator=generator)


def validated(image, base=SMALL_MODEL, **changes):
    dims = image.ndim - 1
    model = small_model(base=base, spatial_dims=dims, **changes).eval()
    tree = {"model": model.config.model_dump(), "training": {"patch_size": (8,) * dims}}
    return model, PatchValidator(model, RunConfig.model_validate(tree), torch.device("cpu"))(image)


@pytest.mark.parametrize("sides", [(16,), (8, 12), (8, 4, 12)])
@pytest.mark.parametrize("kind", ["kl", "vq"])
def test_errors_are_those_of_the_reconstruction_without_noise_in_whole_hu(kind, sides):
    image = patch(*sides)
    model, result = validated(image, SMALL_CODES.get(kind, SMALL_MODEL))
    units = (image / 1000).clamp(-1, 1)[None]
    if kind == "kl":
        latent = model.encode(units).mode()
        assert result.code_counts is None
        assert result.moments.count == latent[0, 0].numel()
        assert result.moments.mean == pytest.approx(latent[0].flatten(1).mean(1).tolist(), rel=1e-4)
    else:
        quantized = model.encode(units)
        latent = quantized.latent
        assert result.code_counts.sum() == quantized.indices.numel()
        assert set(np.flatnonzero(result.code_counts)) == set(quantized.indices.flatten().tolist())
    found = (1000 * model.decode(latent).clamp(-1, 1)).round()
    error = (found[0] - image).square().mean().sqrt().item()
    assert result.values["rmse_hu_full"] == pytest.approx(error, rel=1e-5)
    assert result.values["psnr_db_full"] == pytest.approx(20 * np.log10(4024 / error), rel=1e-5)
    assert {"ssim_full", "ssim_soft_tissue", "rmse_hu_soft_tissue"} <= result.values.keys()
    assert [s.original.plane for s in result.picture] == ["axial", "coronal"][
        : max(1, len(sides) - 1)
    ]


def test_sides_need_not_be_multiples_of_the_factor():
    _, result = validated(patch(9, 13))
    assert result.picture[0].original.pixels.shape == (13, 9)
    assert result.moments.count == 3 * 4


def test_a_grey_value_in_every_channel_becomes_one_again():
    image = patch(8, 8)
    three = {"in_channels": 3, "out_channels": 3}
    _, grey = validated(image, **three)
    _, color = validated(image.expand(3, -1, -1), **three)
    # The mean of three reconstructions is at least as near as they are.
    assert grey.values["rmse_hu_full"] <= color.values["rmse_hu_full"]
