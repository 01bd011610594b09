import errno
from pathlib import Path

import numpy as np
import pytest

from ct_vae.errors import OutputError
from ct_vae.io import read_volume
from ct_vae.io.dicom.codecs import gdcm_pool
from tests.io._dicom_checks import changed, quiet_refusal
from tests.io._series import compress, hounsfield, make_series, write_series
from tests.io.dicom.codecs._frames import JPEG_LS


def test_a_decoder_that_crashes_or_hangs_is_an_error_of_its_slice(tmp_path, monkeypatch):
    temp = tmp_path / "temp"
    temp.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temp))
    slices = changed(lambda k, d: compress(d, "1.2.840.10008.1.2.4.80", lambda _: JPEG_LS))
    folder = write_series(tmp_path / "in", slices)
    script = tmp_path / "crash.py"
    monkeypatch.setattr(gdcm_pool, "_SCRIPT", script)
    monkeypatch.setattr(gdcm_pool, "_TIMEOUT_SECONDS", 0.5)
    for body in ("input(); os.abort()", "input(); time.sleep(60)", "print('!'); input()", "1 / 0"):
        script.write_text(f"import os, time\n{body}\n")
        assert "cannot be decoded" in quiet_refusal(folder)
        assert not list(temp.iterdir())


def test_uncompressed_slices_need_no_temporary_folder(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "in", make_series())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    np.testing.assert_array_equal(read_volume(folder).voxels, hounsfield())


def jpeg_ls_series(folder):
    slices = changed(lambda k, d: compress(d, "1.2.840.10008.1.2.4.80", lambda _: JPEG_LS))
    return write_series(folder, slices)


def test_without_a_temporary_folder_compressed_slices_end_with_the_code_of_disks(
    tmp_path, monkeypatch
):
    folder = jpeg_ls_series(tmp_path / "in")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="cannot create a temporary folder") as caught:
        read_volume(folder)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("where", ["ours", "decoder"])
def test_a_full_temporary_folder_ends_with_the_code_of_disks(tmp_path, monkeypatch, where):
    folder = jpeg_ls_series(tmp_path / "in")
    if where == "ours":
        real = Path.write_bytes

        def full(self, data):
            if self.name.startswith("tmp"):
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(self, data)

        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        script = tmp_path / "full.py"
        body = Path(gdcm_pool._SCRIPT).read_text().replace("array.tofile(", "full(")
        fault = "def full(path):\n    raise OSError(28, 'No space left on device')\n\n\n"
        script.write_text(body.replace("def serve(", f"{fault}def serve("))
        monkeypatch.setattr(gdcm_pool, "_SCRIPT", script)
    with pytest.raises(OutputError) as caught:
        read_volume(folder)
    told = str(caught.value)
    assert "no space left on device" in told.lower()
    assert "TMPDIR" in told
    assert "Traceback" not in told
    assert "\n" not in told
