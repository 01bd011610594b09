import sys

import numpy as np
import pytest

from ct_vae.errors import ConfigError, InputError
from ct_vae.evaluation.baselines.jpeg2000 import (
    jpeg2000_at_rmse,
    jpeg2000_baseline,
    without_repeated_headers,
)
from ct_vae.grid import Grid
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import Volume
from tests.evaluation._cases import random_volume
from tests.evaluation.baselines._error import rmse


@pytest.fixture(scope="module")
def abdomen():
    return make_phantom("abdomen", 2, 1.5, (160, 128, 8), 12)


@pytest.mark.parametrize("bits", [0.25, 0.5, 1, 2])
def test_bits_are_at_most_the_target_and_near_it(abdomen, bits):
    baseline = jpeg2000_baseline(abdomen, bits)
    assert 0.98 * bits <= baseline.bits / abdomen.voxels.size <= bits
    assert baseline.values is None
    assert baseline.volume.grid == abdomen.grid
    assert baseline.volume.voxels.dtype == np.int16


def test_more_bits_mean_less_error(abdomen):
    errors = [rmse(abdomen, jpeg2000_baseline(abdomen, bits)) for bits in (0.25, 0.5, 1, 2)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < abdomen.voxels.std()


def test_bits_enough_for_no_loss_lose_nothing(abdomen):
    baseline = jpeg2000_baseline(abdomen, 16)
    np.testing.assert_array_equal(baseline.volume.voxels, abdomen.voxels)
    assert baseline.bits < 8 * abdomen.voxels.size


def test_negative_and_float_hu_come_back_in_any_orientation(abdomen):
    voxels = np.ascontiguousarray(abdomen.voxels.transpose(2, 0, 1).astype(np.float32) + 0.2)
    affine = abdomen.grid.affine[:, [2, 0, 1, 3]]
    moved = Volume(voxels, Grid(voxels.shape, affine))
    expected = jpeg2000_baseline(abdomen, 1)
    baseline = jpeg2000_baseline(moved, 1)
    assert baseline.bits == expected.bits
    np.testing.assert_array_equal(baseline.volume.voxels.transpose(1, 2, 0), expected.volume.voxels)


@pytest.mark.parametrize("target", [10, 30])
def test_an_error_is_met(abdomen, target):
    assert rmse(abdomen, jpeg2000_at_rmse(abdomen, target)) == pytest.approx(target, rel=0.15)


def test_a_volume_has_one_header_and_every_stream_can_be_restored(abdomen):
    imagecodecs = pytest.importorskip("imagecodecs")
    slices = [np.ascontiguousarray(abdomen.voxels[..., k] + 1024) for k in range(8)]
    streams = [
        imagecodecs.jpeg2k_encode(
            s.astype(np.uint16), level=40, codecformat="j2k", bitspersample=12
        )
        for s in slices
    ]
    short = without_repeated_headers(streams)
    header = streams[0][: len(streams[1]) - len(short[1])]
    assert len(header) > 100
    assert [short[0], *(header + rest for rest in short[1:])] == streams
    # One after the other, they can be told apart: a tile begins with its length.
    joined = b"".join(short[1:])
    for rest in short[1:]:
        length = int.from_bytes(joined[6:10], "big")
        assert joined[: length + 2] == rest
        joined = joined[length + 2 :]


def test_other_headers_are_kept(abdomen):
    streams = [b"head\xff\x90one", b"HEAD\xff\x90two", b"head\xff\x90three"]
    assert without_repeated_headers(streams) == [streams[0], streams[1], b"\xff\x90three"]


def test_a_target_below_the_headers_is_refused():
    with pytest.raises(InputError, match="bits per voxel"):
        jpeg2000_baseline(random_volume(), 0.5)


@pytest.mark.parametrize("bits", [0, -1, float("nan")])
def test_no_bits_are_refused(bits):
    with pytest.raises(ConfigError):
        jpeg2000_baseline(random_volume(), bits)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ConfigError, match=r"pip install 'ct_vae\[baselines\]'"):
        jpeg2000_baseline(random_volume(), 1)
