import sys

import numpy as np
import pytest

from ct_vae.evaluation.metrics.metric_rows import evaluate_pair
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.rate_distortion.measure import (
    BodyErrors,
    codec_curves,
    curves_of_pair,
    model_curves,
)
from ct_vae.evaluation.rate_distortion.methods import LATENT_STEPS, record_bits
from ct_vae.masks import body_mask
from ct_vae.phantoms.make_phantom import make_phantom
from tests._small import SMALL_CODES, ct_volume, small_codec
from tests.evaluation._cases import noisy


@pytest.fixture(scope="module")
def abdomen():
    return make_phantom("abdomen", 2, 5.0, (48, 40, 12), 12)


def test_errors_are_those_of_the_tables(abdomen):
    result = noisy(abdomen, hu=200)
    body = body_mask(abdomen)
    rows = {r.window: r.rmse for r in evaluate_pair(abdomen, result, case="a", masks=(body,))}
    found = BodyErrors(abdomen, body).of(result)
    assert found["body"] == pytest.approx(rows["full"])
    assert found["soft_tissue"] == pytest.approx(rows["soft_tissue"])


@pytest.fixture(scope="module")
def small():
    codec, volume = small_codec(), ct_volume((16, 16, 12))
    latent = codec.encode(volume)
    return (
        codec,
        volume,
        latent,
        list(model_curves(codec, latent, BodyErrors(volume, body_mask(volume)))),
    )


def test_finer_steps_take_more_bits_and_end_at_the_unquantized_error(small):
    _, volume, _, (model, klt) = small
    assert [point.level for point in model.points] == list(LATENT_STEPS)
    for curve in (model, klt):
        rates = [point.bits_per_voxel for point in curve.points]
        # Digests in the record are compressed to a few bytes more or less.
        assert np.diff(rates).max() < 64 * 8 / volume.voxels.size
    assert klt.points[0].body < klt.points[-1].body


def test_codes_have_one_rate(abdomen):
    codec = small_codec(base=SMALL_CODES["vq"])
    latent = codec.encode(abdomen)
    model, klt = model_curves(codec, latent, BodyErrors(abdomen, body_mask(abdomen)))
    (point,) = model.points
    # 64 codes take at most 6 bits, and each stands for 64 voxels.
    bits = point.bits_per_voxel * abdomen.voxels.size - record_bits(latent.record)
    assert 0 < bits <= 6 * latent.array.size
    assert len(klt.points) > 1


def test_codecs_without_a_package_are_noted(abdomen, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    notes = []
    curves = list(codec_curves(BodyErrors(abdomen, body_mask(abdomen)), notes))
    assert [curve.name for curve in curves] == ["jpeg2000", "sperr"]
    (note,) = notes
    assert note.startswith("no rate-distortion curve of hevc: the HEVC baseline needs")


def test_a_pair_has_the_curves_of_the_codecs_and_its_own_point(abdomen):
    result = noisy(abdomen, hu=20)
    found = curves_of_pair("a", Pair(abdomen, result), 0.5, [])
    (point,) = found.curve("model").points
    assert (point.bits_per_voxel, point.body) == (0.5, found.errors["body"])
    assert found.curve("jpeg2000").rate_at(point.body, "body") > 0
    assert curves_of_pair("a", Pair(abdomen, result), None, []).curve("model") is None
