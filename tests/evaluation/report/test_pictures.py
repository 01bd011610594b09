import base64
import io

import numpy as np
from matplotlib.image import imread

from ct_vae.evaluation.report.payload import ras_pair
from ct_vae.evaluation.report.pictures import gray, picture
from ct_vae.evaluation.windows import Window
from tests.evaluation.report._report import case_of, thorax


def test_grey_runs_from_the_low_to_the_high_end():
    got = gray(np.float32([[-161, -160, 40, 240, 9999]]), Window("soft_tissue", 400, 40))
    assert got[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert (got == got[..., :1]).all()


def test_the_picture_is_three_squares_in_radiological_convention():
    volume = thorax(shape=(20, 16, 12))
    volume.voxels[:] = -1000
    # At the right and in front of the patient.
    volume.voxels[15:, 12:] = 40
    case = case_of(volume, sigma=0)
    image = imread(io.BytesIO(base64.b64decode(picture(ras_pair(case)))))[..., :3]
    assert image.shape == (192, 576, 3)
    original, result, error = np.split(np.rint(image * 255), 3, axis=1)
    assert np.array_equal(original, result)
    # Pixels are as wide as high in mm: 16 rows of 20 fill four fifths of the height.
    assert (original[:19] == 0).all()
    assert (original[25, 5] == 128).all()
    assert (original[25, -5] == 0).all()
    assert (original[-25, 5] == 0).all()
    assert (error[25:-25] == 24).all()
