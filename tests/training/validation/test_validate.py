import math
import pickle

import numpy as np
import pytest
import torch

from ct_vae.evaluation.metrics.metric_rows import evaluate_pair
from ct_vae.grid import Grid
from ct_vae.inference.tiling import Tiling
from ct_vae.masks import body_mask
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.preprocess.pipeline import Preprocessor
from ct_vae.training.validation.result import summarize
from ct_vae.training.validation.validate import make_codec, validate_case
from ct_vae.volume import Volume
from tests._small import SMALL_CODES, ct_volume, small_model


def codec(base="kl", preprocessor=None, tiling=None):
    model = small_model(base=SMALL_CODES[base]) if base in SMALL_CODES else small_model()
    return make_codec(model, preprocessor or Preprocessor(), tiling)


def volume(seed=0):
    return ct_volume((22, 18, 20), seed=seed)


def test_errors_are_those_of_whole_hu_inside_the_body():
    original, made = volume(), codec()
    told = validate_case(made, original).values
    decoded = made.reconstruct(original)
    rounded = Volume(np.rint(decoded.voxels), decoded.grid)
    for row in evaluate_pair(original, rounded, case="x", masks=[body_mask(original)]):
        assert told[f"rmse_hu_{row.window}"] == row.rmse
        assert told[f"psnr_db_{row.window}"] == row.psnr
        width = {"full": 4024, "soft_tissue": 400}[row.window]
        assert row.psnr == pytest.approx(20 * math.log10(width / row.rmse))
        assert -1 <= told[f"ssim_{row.window}"] < 1
    assert len(told) == 6


def test_a_result_can_be_sent_and_is_small():
    case = validate_case(codec(), volume())
    sent = pickle.loads(pickle.dumps(case))
    assert sent.values == case.values
    assert sent.moments == case.moments
    assert [s.original.plane for s in sent.picture] == ["axial", "coronal"]
    assert len(pickle.dumps(case)) < volume().voxels.nbytes * 2
    assert validate_case(codec(), volume(), pictured=False).picture is None


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "SPL"])
def test_latent_voxels_count_where_their_centre_lies_in_the_body(axcodes):
    """A banal reference: every latent voxel's block is found by hand, in the model's axes."""
    source = volume()
    grid = source.grid
    turned = Volume(grid.reorient_array(source.voxels, axcodes).copy(), grid.reorient(axcodes))
    made = codec()
    body = turned.grid.reorient_array(body_mask(turned).voxels, "RAS")
    array = made.encode(turned).array
    chosen = []
    for x, y, z in np.ndindex(array.shape[1:]):
        # The center of a block of 4 lies between its voxels 1 and 2; ndimage takes the upper.
        i, j, k = 4 * x + 1.5, 4 * y + 1.5, 4 * z + 1.5
        near = [
            body[a, b, c] if all(n < s for n, s in zip((a, b, c), body.shape, strict=True)) else 0
            for a in (math.floor(i), math.ceil(i))
            for b in (math.floor(j), math.ceil(j))
            for c in (math.floor(k), math.ceil(k))
        ]
        chosen.append((sum(near), array[:, x, y, z]))
    surely = [v for n, v in chosen if n == 8]
    perhaps = [v for n, v in chosen if n]
    moments = validate_case(made, turned).moments
    assert 0 < len(surely) <= moments.count <= len(perhaps) < len(chosen)


def test_the_moments_are_those_of_the_latent_inside_the_body():
    everywhere = Volume(np.full((16, 16, 16), 40, np.int16), Grid((16, 16, 16), np.eye(4)))
    made = codec()
    moments = validate_case(made, everywhere).moments
    flat = made.encode(everywhere).array.reshape(4, -1).astype(np.float64)
    assert moments.count == flat.shape[1] == 64
    assert moments.mean == pytest.approx(flat.mean(1).tolist())


@pytest.mark.parametrize("kind", ["vq", "magvit"])
def test_codes_are_counted_inside_the_body(kind):
    made, original = codec(kind), volume()
    case = validate_case(made, original)
    size = made.network.model.codebook_size
    assert case.moments is None
    assert case.code_counts.shape == (size,)
    assert case.code_counts.dtype == np.int64
    codes = made.encode(original).array
    everywhere = np.bincount(codes.ravel(), minlength=size)
    assert (case.code_counts <= everywhere).all()
    assert 0 < case.code_counts.sum() < codes.size


def test_resampled_volumes_are_validated_on_their_own_grid():
    resampling = Preprocessor(spacing_mm=(3.0, 3.0, 3.0))
    case = validate_case(codec(preprocessor=resampling), volume())
    assert case.moments.count > 0
    assert case.picture[0].original.pixels.shape == (18, 22)


def test_a_codec_is_made_in_evaluation_mode_and_tiles_as_told():
    model = small_model().train()
    made = make_codec(model, Preprocessor(), Tiling("blend", tile=16))
    assert not model.training
    assert made.encode(volume()).record.tiling.method == "blend"
    assert made.identity.latent_type == "kl"
    assert codec("vq").identity.latent_type == "vq"


def airy_model():
    """Whatever goes in, air of -1000 HU comes out."""
    model = small_model()
    with torch.no_grad():
        model.decoder.conv_out.weight.zero_()
        model.decoder.conv_out.bias.fill_(-1.0)
    return model


def test_a_perfect_reconstruction_has_no_psnr():
    air = Volume(np.full((12, 12, 12), -1000, np.int16), Grid((12, 12, 12), np.eye(4)))
    values = validate_case(make_codec(airy_model(), Preprocessor()), air).values
    assert values["rmse_hu_full"] == 0
    assert values["ssim_full"] == pytest.approx(1)
    assert "psnr_db_full" not in values
    assert all(math.isfinite(v) for v in values.values())


def test_numbers_are_plain_and_finite():
    for kind in ("kl", "vq"):
        told = summarize([validate_case(codec(kind), volume(seed)) for seed in range(2)])
        assert all(type(v) is float and math.isfinite(v) for v in told.values()), kind


def test_weights_that_learn_nothing_are_seen():
    """Air everywhere is off by about a thousand HU inside a body."""
    head = make_phantom("head", 0, (6.0, 6.0, 6.0))
    values = validate_case(make_codec(airy_model(), Preprocessor()), head).values
    assert values["rmse_hu_full"] > 900
    assert values["ssim_soft_tissue"] < 0.1
