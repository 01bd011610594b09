import numpy as np

from ct_vae.io import ReadOptions, read_volume
from tests._asserts import assert_same_place
from tests.io import _series as series
from tests.io._derived import N, derive, slices_of


def test_a_resampled_source_is_followed_without_references(tmp_path):
    steps = np.array([0, 2.5, 5, 10, 12.5])
    source = series.write_series(tmp_path / "in", series.make_series(N, positions=steps))
    made = derive(source, tmp_path / "out", ReadOptions(resample_irregular=True))
    slices = slices_of(tmp_path / "out")
    assert len(slices) == made.grid.shape[2] == 6
    assert not any("SourceImageSequence" in each for each in slices)
    assert "resampled" in slices[0].DerivationDescription
    assert_same_place(read_volume(tmp_path / "out").grid, made.grid)


def test_frames_of_an_enhanced_image_are_referred_to_by_number(tmp_path):
    order = [3, 0, 4, 1, 2]
    source = series.save(series.enhanced(N, order=order), tmp_path / "in" / "a")
    derive(source, tmp_path / "out")
    for k, found in enumerate(slices_of(tmp_path / "out")):
        item = found.SourceImageSequence[0]
        assert item.ReferencedSOPClassUID == series.ENHANCED_CT
        assert item.ReferencedFrameNumber == order.index(k) + 1
        assert found.SOPClassUID == series.CT_IMAGE
