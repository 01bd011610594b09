import imagecodecs
import numpy as np
import pytest

from ct_vae.io import read_volume
from ct_vae.io.dicom.transfer_syntax import RLE
from tests.io._dicom_checks import quiet_refusal
from tests.io._series import compress, hounsfield, make_series, save
from tests.io.dicom._syntaxes import JPEG, NOTE, declaring


@pytest.mark.parametrize("syntax", ["110", "111", "112"])
@pytest.mark.parametrize("declared_as", ["itself", "JPEG 2000"])
def test_jpeg_xl_is_decoded_to_the_bit(tmp_path, syntax, declared_as):
    for k, dataset in enumerate(make_series(5)):
        dataset.PixelRepresentation = 0
        compress(dataset, RLE, jpeg_xl)
        path = save(dataset, tmp_path / f"{k}.dcm")
        uid = JPEG + (syntax if declared_as == "itself" else "90")
        path.write_bytes(declaring(path.read_bytes(), uid))
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hounsfield(5))
    assert volume.warnings == (() if declared_as == "itself" else (NOTE,))


def jpeg_xl(dataset):
    words = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
    return imagecodecs.jpegxl_encode(words, lossless=True)


def test_jpeg_xl_without_its_decoder_names_the_package(tmp_path, monkeypatch):
    for k, dataset in enumerate(make_series(5)):
        dataset.PixelRepresentation = 0
        compress(dataset, RLE, jpeg_xl)
        path = save(dataset, tmp_path / f"{k}.dcm")
        path.write_bytes(declaring(path.read_bytes(), f"{JPEG}110"))
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    assert "pip install imagecodecs" in quiet_refusal(tmp_path)
