import numpy as np
import pytest

from ct_vae.evaluation.report import payload as module
from ct_vae.evaluation.report.payload import chosen_slices, payload_of, ras_pair, sample
from ct_vae.masks import Mask
from tests.evaluation.report._report import case_of, plainly_unpacked, thorax

NORMAL = {"axial": 2, "coronal": 1, "sagittal": 0}


def small(axcodes="RAS"):
    return thorax(shape=(20, 16, 12), axcodes=axcodes)


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PIR"])
def test_every_orientation_gives_the_same_voxels(axcodes):
    first, second = (ras_pair(case_of(small(a))) for a in ("RAS", axcodes))
    assert np.array_equal(first.original, second.original)
    assert np.array_equal(first.result, second.result)
    assert first.found.worst == second.found.worst
    assert first.middle == second.middle
    assert np.allclose(first.affine, second.affine)


@pytest.mark.parametrize("full", [False, True])
def test_the_texts_hold_the_volume_and_the_chosen_slices(monkeypatch, full):
    monkeypatch.setattr(module, "_SAMPLED_VOXELS", 700)
    pair = ras_pair(case_of(small()))
    description, texts = payload_of(pair, full=full)
    step, at = description["volume"]["step"], description["volume"]["text"]
    assert (step == [1, 1, 1]) == full
    for n, voxels in enumerate((pair.original, pair.result)):
        i, j, k = ((s - 1) // 2 for s in step)
        want = voxels[i :: step[0], j :: step[1], k :: step[2]]
        assert description["volume"]["offset"] == [i, j, k]
        assert np.array_equal(plainly_unpacked(texts[at + n]), want.transpose(2, 1, 0).ravel())
        for found in description["slices"]:
            plane = voxels.take(found["index"], NORMAL[found["plane"]])
            assert np.array_equal(plainly_unpacked(texts[found["text"] + n]), plane.T.ravel())
    assert len(texts) == 2 * len(description["slices"]) + 2
    assert bool(description["slices"]) != full


def test_whole_slices_are_the_centres_and_the_worst_places():
    pair = ras_pair(case_of(small()))
    chosen = chosen_slices(pair)
    for plane, axis in NORMAL.items():
        assert "centre" in chosen[plane, pair.middle[axis]]
        assert "largest error" in chosen[plane, pair.found.worst[axis]]
        worst = int(np.argmax(pair.found.plane_rmse[axis]))
        assert "largest RMSE of a slice" in chosen[plane, worst]


def test_a_volume_too_large_for_its_room_is_sampled_coarser(monkeypatch):
    pair = ras_pair(case_of(small()))
    monkeypatch.setattr(module, "_FULL_BYTES", 2500)
    description, texts = payload_of(pair, full=True)
    assert sum(map(len, texts)) <= 2500
    assert max(description["volume"]["step"]) > 1


def test_fine_axes_are_sampled_before_coarse_ones():
    steps = list(module._steps((8, 8, 4), (1.0, 1.0, 3.0)))
    assert steps[:4] == [[1, 1, 1], [2, 2, 1], [3, 3, 1], [4, 4, 2]]
    assert steps[-1] == [8, 8, 4]


def test_a_sample_is_a_voxel_of_its_block():
    voxels = np.arange(7 * 5 * 2, dtype=np.int16).reshape(7, 5, 2)
    got = sample(voxels, [3, 2, 1])
    assert got.shape == (2, 3, 2)
    assert got[1, 2, 1] == voxels[1 + 3, 2 * 2, 1]


def test_without_a_body_the_whole_volume_counts():
    case = case_of(small())
    bare = type(case)(case.name, case.original, case.reconstruction, case.rows, None)
    everywhere = Mask("all", np.ones(case.original.grid.shape, np.bool_))
    known = type(case)(case.name, case.original, case.reconstruction, case.rows, everywhere)
    assert ras_pair(bare).found.rmse == ras_pair(known).found.rmse
