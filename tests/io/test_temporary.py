from pathlib import Path

import pytest

from ct_vae.errors import OutputError
from ct_vae.io.temporary import make_temporary_folder


def test_the_folder_is_removed_at_the_end_of_its_context(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with make_temporary_folder() as name:
        folder = Path(name)
        (folder / "file").write_text("x")
        assert folder.parent == tmp_path
    assert not list(tmp_path.iterdir())


def test_an_error_names_the_variable_to_set(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(OutputError, match="cannot create a temporary folder: No such") as error:
        make_temporary_folder()
    assert "TMPDIR" in error.value.hint
