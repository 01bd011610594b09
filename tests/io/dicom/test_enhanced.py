import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.sequence import Sequence as Items
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from ct_vae.errors import CtVaeError
from ct_vae.io import ReadOptions, read_volume, scan_series
from tests.io._series import (
    STEP_MM,
    assert_nothing_identifying,
    enhanced,
    hounsfield,
    lps_affine,
    save,
    told_by,
)


def refusal(path, dataset, options=None):
    save(dataset, path)
    with pytest.raises(CtVaeError) as caught:
        read_volume(path, options)
    assert_nothing_identifying(str(caught.value))
    return str(caught.value)


def without_frames(dataset, *gone):
    """Take frames out of a dataset, pixels and all."""
    count = dataset.NumberOfFrames
    kept = [k for k in range(count) if k not in gone]
    size = len(dataset.PixelData) // count
    data = dataset.PixelData
    dataset.PixelData = b"".join(data[k * size : (k + 1) * size] for k in kept)
    groups = dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = Items([groups[k] for k in kept])
    dataset.NumberOfFrames = len(kept)
    return dataset


@pytest.mark.parametrize("order", [range(8), [3, 1, 4, 0, 5, 7, 2, 6]])
def test_a_multi_frame_file_is_a_volume(tmp_path, order):
    path = save(enhanced(order=list(order)), tmp_path / "file")
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, hounsfield())
    np.testing.assert_allclose(volume.grid.affine, lps_affine(), atol=1e-9)
    assert_nothing_identifying(told_by(volume))
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, hounsfield())


def test_a_deflated_multi_frame_file_is_the_same_volume(tmp_path):
    dataset = enhanced(order=[3, 1, 4, 0, 5, 7, 2, 6])
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    volume = read_volume(save(dataset, tmp_path / "file"))
    np.testing.assert_array_equal(volume.voxels, hounsfield())


def test_frames_have_their_own_rescale(tmp_path):
    dataset = enhanced(slopes=[1, 2, 1, 3, 1, 2, 1, 1])
    volume = read_volume(save(dataset, tmp_path / "file"))
    expected = hounsfield()
    for k, slope in enumerate([1, 2, 1, 3, 1, 2, 1, 1]):
        expected[:, :, k] = (expected[:, :, k] + 1024) // slope * slope - 1024
    np.testing.assert_array_equal(volume.voxels, expected)


def test_what_all_frames_share_may_be_in_the_shared_groups(tmp_path):
    dataset = enhanced()
    frames = dataset.PerFrameFunctionalGroupsSequence
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelValueTransformationSequence = frames[0].PixelValueTransformationSequence
    for frame in frames:
        del frame.PixelValueTransformationSequence
        frame.PlaneOrientationSequence = shared.PlaneOrientationSequence
    del shared.PlaneOrientationSequence
    volume = read_volume(save(dataset, tmp_path / "file"))
    np.testing.assert_array_equal(volume.voxels, hounsfield())


def test_what_a_frame_says_of_itself_counts_before_what_all_share(tmp_path):
    dataset = enhanced(slopes=[2] * 8)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelValueTransformationSequence = Items([Dataset()])
    item = shared.PixelValueTransformationSequence[0]
    item.RescaleSlope, item.RescaleIntercept, item.RescaleType = 1, 0, "US"
    volume = read_volume(save(dataset, tmp_path / "file"))
    np.testing.assert_array_equal(volume.voxels, (hounsfield() + 1024) // 2 * 2 - 1024)


def test_a_missing_frame_is_refused(tmp_path):
    text = refusal(tmp_path / "file", without_frames(enhanced(), 4))
    assert "a slice is missing" in text
    assert "107.500 to 112.500" in text


def test_a_missing_end_frame_leaves_the_others(tmp_path):
    path = save(without_frames(enhanced(), 7), tmp_path / "file")
    np.testing.assert_array_equal(read_volume(path).voxels, hounsfield()[:, :, :7])


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("PlanePositionSequence", "1 of 8 slices lack ImagePositionPatient"),
        ("PixelValueTransformationSequence", "1 of 8 slices lack RescaleSlope"),
    ],
)
def test_a_frame_without_its_groups_is_refused(tmp_path, sequence, message):
    dataset = enhanced()
    delattr(dataset.PerFrameFunctionalGroupsSequence[5], sequence)
    assert message in refusal(tmp_path / "file", dataset)


@pytest.mark.parametrize("sequence", ["PixelMeasuresSequence", "PlaneOrientationSequence"])
def test_missing_shared_groups_are_refused(tmp_path, sequence):
    dataset = enhanced()
    delattr(dataset.SharedFunctionalGroupsSequence[0], sequence)
    assert "8 of 8 slices lack" in refusal(tmp_path / "file", dataset)


@pytest.mark.parametrize("frames", [7, 9, 0, 100_000_000])
def test_a_false_number_of_frames_is_refused(tmp_path, frames):
    dataset = enhanced()
    dataset.NumberOfFrames = frames
    assert "but has functional groups for 8" in refusal(tmp_path / "file", dataset)


def test_a_truncated_file_is_refused(tmp_path):
    path = save(enhanced(), tmp_path / "file")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CtVaeError, match="truncated: it has 1820 of 1920"):
        read_volume(path)


def test_a_tilted_stack_of_frames_is_refused_and_resampled(tmp_path):
    dataset = enhanced()
    for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient[1] += k * STEP_MM / 2
    assert "tilted by 26.57 degrees" in refusal(tmp_path / "file", dataset)
    volume = read_volume(tmp_path / "file", ReadOptions(resample_irregular=True))
    assert volume.grid.shear < 1e-12


def test_two_phases_in_one_file_are_two_volumes(tmp_path):
    dataset = enhanced(16)
    for k, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient[2] = 100 + (k // 2) * STEP_MM
        frame.FrameContentSequence = Items([Dataset()])
        frame.FrameContentSequence[0].TemporalPositionIndex = k % 2 + 1
    save(dataset, tmp_path / "file")
    found = scan_series(tmp_path / "file")
    assert [(each.slices, each.verdict) for each in found] == [(8, "ok")] * 2
    wholes = [hounsfield(16)[:, :, phase::2] for phase in (0, 1)]
    for each in found:
        assert any(np.array_equal(each.read().voxels, whole) for whole in wholes)


def test_a_localizer_frame_is_set_aside(tmp_path):
    dataset = enhanced(9)
    frame = dataset.PerFrameFunctionalGroupsSequence[0]
    frame.CTImageFrameTypeSequence = Items([Dataset()])
    frame.CTImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    volume = read_volume(save(dataset, tmp_path / "file"))
    np.testing.assert_array_equal(volume.voxels, hounsfield(9)[:, :, 1:])
    assert "a localizer" in volume.warnings[0]


@pytest.mark.parametrize("table", [True, False])
def test_compressed_frames_are_distinguished(tmp_path, table):
    dataset = enhanced()
    frames = [RLELosslessEncoder.encode(dataset, index=k) for k in range(8)]
    dataset.PixelData = encapsulate(frames, has_bot=table)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = RLELossless
    np.testing.assert_array_equal(
        read_volume(save(dataset, tmp_path / "file")).voxels, hounsfield()
    )
    dataset.PixelData = encapsulate(frames[:7], has_bot=table)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    refusal(tmp_path / "file", dataset)
