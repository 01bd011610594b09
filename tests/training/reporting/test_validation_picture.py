import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from ct_vae.errors import OutputError
from ct_vae.masks import body_mask
from ct_vae.training.reporting.validation_picture import case_picture, write_validation_picture
from tests._asserts import assert_only_files
from tests._small import ct_volume
from tests.evaluation._cases import noisy


def pictured(seed=0, shape=(40, 30, 20), hu=60):
    volume = ct_volume(shape, seed=seed)
    return case_picture(volume, noisy(volume, hu=hu), body_mask(volume))


def test_slices_are_those_through_the_body_and_keep_no_volume():
    volume = ct_volume((40, 30, 20))
    axial, coronal = case_picture(volume, noisy(volume), body_mask(volume))
    assert (axial.original.plane, coronal.original.plane) == ("axial", "coronal")
    assert axial.original.pixels.shape == (30, 40)
    assert coronal.original.pixels.shape == (20, 40)
    assert coronal.original.aspect == pytest.approx(2.5 / 1.5)
    # Radiological: the patient's right is on the left, so the first axis is turned round.
    np.testing.assert_array_equal(axial.original.pixels, volume.voxels[::-1, :, 9].T)
    for one in (axial, coronal):
        assert not np.array_equal(one.original.pixels, one.reconstruction.pixels)
        assert one.original.pixels.base is None
        assert one.reconstruction.pixels.base is None


def test_each_case_has_two_rows_of_five(tmp_path):
    sizes = []
    for count in (1, 2):
        write_validation_picture([pictured(i) for i in range(count)], tmp_path / "v.png", 2000)
        sizes.append(imread(tmp_path / "v.png").shape)
    (low, width, _), (high, same, _) = sizes
    assert width == same
    # A row is as high as the slice of 40 pixels across is in millimetres.
    across = width / 5.2
    rows = across * (30 * 2.0 + 20 * 2.5) / (40 * 1.5)
    assert high - low == pytest.approx(rows, rel=0.1)
    assert_only_files(tmp_path, {"v.png"})


def test_the_error_has_colours_and_a_perfect_case_has_none(tmp_path):
    def coloured(hu):
        path = tmp_path / "v.png"
        write_validation_picture([pictured(hu=hu)], path, 2000)
        image = imread(path)[..., :3]
        # The color bar alone is coloured in any case.
        upper = image[: int(0.85 * len(image))]
        return float((np.ptp(upper, axis=-1) > 0.1).mean())

    assert coloured(hu=0) == 0
    assert coloured(hu=100) > 0.03


def test_the_file_tells_nothing_but_the_picture(tmp_path):
    folder = tmp_path / "patient_doe"
    write_validation_picture([pictured()], folder / "v.png", 2000)
    with Image.open(folder / "v.png") as image:
        assert set(image.info) <= {"Software", "dpi"}
    assert b"doe" not in (folder / "v.png").read_bytes()


def test_a_folder_in_the_way_is_an_output_error(tmp_path):
    (tmp_path / "v.png").mkdir()
    with pytest.raises(OutputError, match=r"v\.png"):
        write_validation_picture([pictured()], tmp_path / "v.png", 2000)
