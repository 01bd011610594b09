import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data.utils import dense_patch_slices
from torch import nn

from ct_vae.blocks.conv import ConvND
from ct_vae.evaluation.metrics.seams import (
    _starts,
    borders_of,
    difference,
    differences,
    measure_seams,
)
from ct_vae.inference.blending import Blending
from ct_vae.inference.tiling import Tiling
from ct_vae.latent import TilingRecord
from ct_vae.volume import Volume
from tests._small import ct_volume, small_codec
from tests.inference._exact import run


def test_errors_at_a_border_are_seen_there_alone():
    reference = np.zeros((20, 12, 8))
    reconstruction = np.ones_like(reference)
    reconstruction[8:12] = 3.0
    seams = measure_seams(reference, reconstruction, ((10,), (), ()))
    assert (seams.near, seams.elsewhere, seams.ratio) == (3.0, 1.0, 3.0)
    assert (seams.distance, seams.share) == (2, 0.2)
    assert measure_seams(reference, reconstruction, ((10,), (), ()), 4).near < 3.0
    assert measure_seams(reference, reconstruction, ((), (6,), ())).ratio == 1.0
    inside = np.zeros(reference.shape, bool)
    inside[9:16] = True
    masked = measure_seams(reference, reconstruction, ((10,), (), ()), mask=inside)
    assert masked.share == pytest.approx(3 / 7)


@pytest.mark.parametrize("borders", [((), (), ()), ((1, 2), (), ())])
def test_without_two_kinds_of_voxels_there_is_no_ratio(borders):
    assert measure_seams(np.zeros((3, 4, 4)), np.ones((3, 4, 4)), borders).ratio is None


def test_borders_near_the_ends_stay_inside():
    seams = measure_seams(np.zeros((6, 4, 4)), np.ones((6, 4, 4)), ((1,), (), ()))
    assert seams.share == 0.5


@given(st.integers(1, 60), st.integers(1, 30), st.integers(1, 30))
def test_windows_begin_where_monai_puts_them(side, tile, step):
    tile = min(tile, side)
    step = min(step, tile)
    expected = sorted({s[0].start for s in dense_patch_slices((side,), (tile,), (step,))})
    assert sorted(set(_starts(side, tile, step))) == expected


def test_tiles_borders_are_those_of_the_source_however_it_lies():
    """Tiles of 8 with 4 shared in 16 + padding, counted in the volume as it is stored."""
    codec = small_codec(Tiling("blend", tile=8, overlap=0.5))
    volume = ct_volume((20, 12, 8))
    borders = borders_of(codec.encode(volume).record)
    assert borders == ((4, 8, 12, 16), (4, 8), ())
    turned = Volume(volume.grid.reorient_array(volume.voxels, "SPL"), volume.grid.reorient("SPL"))
    assert turned.grid.shape == (8, 12, 20)
    # Back to front, an even division looks the same.
    assert borders_of(codec.encode(turned).record) == ((), (4, 8), (4, 8, 12, 16))


def test_padding_before_the_volume_is_taken_off():
    codec = small_codec(Tiling("blend", tile=8, overlap=0.0))
    record = codec.encode(ct_volume((19, 8, 8))).record
    low = record.preprocess.pad_low[0]
    assert record.padded_grid().shape[0] == 20
    assert borders_of(record)[0] == tuple(b - low for b in (8, 12, 16) if 0 < b - low < 19)


def test_slabs_have_borders_along_the_first_axis_and_the_whole_has_none():
    record = small_codec().encode(ct_volume((24, 8, 8))).record
    thin = record.model_copy(update={"tiling": TilingRecord(method="exact", slab=2)})
    assert borders_of(thin) == ((8, 16), (), ())
    whole = record.model_copy(update={"tiling": TilingRecord(method="whole")})
    assert borders_of(whole) == ((), (), ())
    blend = TilingRecord(method="blend", tile=(16, 8, 8), overlap=(8, 0, 0))
    assert borders_of(whole, blend) == ((8, 16), (), ())


def test_blended_windows_show_and_exact_slabs_do_not():
    """Each window is normalised by itself and padded with zeros; the reference is the model's own.

    A smooth volume leaves the parts of windows far from borders nearly right.
    """
    torch.manual_seed(0)
    network = nn.Sequential(ConvND(3, 1, 1), nn.GroupNorm(1, 1), ConvND(3, 1, 1)).double().eval()
    x = torch.linspace(-1, 1, 48, dtype=torch.float64)[None, None, :, None, None].square()
    x = x + 0.3 * torch.randn(1, 1, 48, 12, 12, dtype=torch.float64) + 1
    tiles = Blending((16, 12, 12), (0, 0, 0), 1, x.device, x.device)
    slabs = []
    with torch.inference_mode():
        whole = network(x)
        tiles.run(network, x, lambda _, slab: slabs.append(slab))
        results = {
            "blend": torch.cat(slabs, 2),
            "exact": run(network, x, 4 * 12 * 12 * 8),
        }
    reference = (whole + 0.05 * torch.randn_like(whole))[0, 0].numpy()
    ratio = {
        name: measure_seams(reference, result[0, 0].numpy(), ((16, 32), (), ())).ratio
        for name, result in results.items()
    }
    assert ratio["exact"] == pytest.approx(1, abs=0.1)
    assert ratio["blend"] > 1.5 * ratio["exact"]


def test_differences_are_those_of_norms():
    a, b = np.array([3.0, 4.0]), np.array([0.0, 5.0])
    between = differences({"exact": a, "whole": b, "blend": a})
    assert between.keys() == {("exact", "whole"), ("exact", "blend"), ("whole", "blend")}
    apart = between["exact", "whole"]
    assert apart.relative == pytest.approx(float(torch.tensor(a - b).norm() / 5.0))
    assert apart.max_hu == 3.0
    assert difference(a, a).relative == 0.0
    assert difference(a, 0 * a).relative == 1.0
