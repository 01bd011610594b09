import numpy as np
import pytest
import torch

from ct_vae.config.model import ModelConfig
from ct_vae.errors import InputError
from ct_vae.models.linear_code import BlockKLT, load_linear_code
from ct_vae.training.initial import initial_model
from tests.models._small import noise

PATCH = ModelConfig(
    down_channels=(8,),
    num_res_blocks=1,
    mid_attn=False,
    norm="rms",
    patch_size=2,
    linear_skip=True,
    z_channels=3,
    embed_dim=3,
)


def images():
    smooth = torch.nn.functional.avg_pool3d(noise(4, 1, 12, 12, 12), 3, 1, 1)
    return 5 * smooth + 0.3 * noise(4, 1, 12, 12, 12, seed=1) - 0.7


def test_it_is_the_principal_components_of_blocks():
    """Beside a singular value decomposition of the centered blocks."""
    x = images()
    klt = BlockKLT((2, 2, 2))
    for part in x.split(1):
        klt.add(part)
    code = klt.fit(3)
    blocks = x.reshape(4, 6, 2, 6, 2, 6, 2).permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 8).double()
    centered = (blocks - blocks.mean(0)).numpy()
    _, values, vectors = np.linalg.svd(centered, full_matrices=False)
    best = centered @ vectors[:3].T @ vectors[:3]
    ours = ((blocks - code.mean) @ code.analysis.T @ code.synthesis.T).numpy()
    np.testing.assert_allclose(ours, best, atol=1e-10)
    codes = code.encode(x.double(), (2, 2, 2)).movedim(1, -1).reshape(-1, 3).numpy()
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(3), atol=1e-10)
    assert (np.diff(values) <= 0).all()


def test_no_linear_code_has_a_smaller_error():
    x = images().double()
    klt = BlockKLT((2, 2, 2))
    klt.add(x)
    code = klt.fit(3)
    blocks = x.reshape(4, 6, 2, 6, 2, 6, 2).permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 8)
    centered = blocks - code.mean
    least = (centered - centered @ code.analysis.T @ code.synthesis.T).square().sum()
    for seed in range(20):
        basis, _ = torch.linalg.qr(noise(8, 3, seed=seed).double())
        assert (centered - centered @ basis @ basis.T).square().sum() > least


def test_a_model_begins_as_its_code():
    """Mean and reconstruction are those of the linear code, and the posterior is narrow."""
    x = images()
    klt = BlockKLT((2, 2, 2))
    klt.add(x)
    code = klt.fit(3)
    model = initial_model(PATCH, 0).eval()
    load_linear_code(model.encoder, model.decoder, code)
    posterior = model.posterior(x)
    torch.testing.assert_close(posterior.mean, code.encode(x, (2, 2, 2)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(posterior.std, torch.full_like(posterior.std, np.exp(-3)))
    blocks = posterior.mean.movedim(1, -1) @ code.synthesis.T.float() + code.mean.float()
    decoded = model.decode(posterior.mean)
    torch.testing.assert_close(decoded[0, 0, :2, :2, :2].flatten(), blocks[0, 0, 0, 0])


def test_values_that_never_vary_are_no_error():
    klt = BlockKLT((2,))
    klt.add(torch.zeros(1, 1, 4))
    code = klt.fit(2)
    assert torch.isfinite(code.analysis).all()


def test_without_images_or_values_it_is_refused():
    with pytest.raises(InputError, match="at least one image"):
        BlockKLT((2,)).fit(1)
    klt = BlockKLT((2,))
    klt.add(torch.randn(1, 1, 4))
    with pytest.raises(InputError, match="3 codes exceed the 2 values"):
        klt.fit(3)
