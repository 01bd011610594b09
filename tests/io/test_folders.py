import pytest

from ct_vae.errors import OutputError
from ct_vae.io.atomic.file import write_text
from ct_vae.io.folders import check_writable, make_folders


def test_any_depth_is_made_and_there_may_be_some_already(tmp_path):
    # Deeper than Python recurses, and as long as a path may be.
    deep = tmp_path.joinpath(*["d"] * 1500)
    make_folders(deep)
    make_folders(deep)
    assert deep.is_dir()
    write_text(deep / "e" / "a", "x")
    assert (deep / "e" / "a").read_text() == "x"
    # What cleans up after tests does recurse.
    (deep / "e" / "a").unlink()
    here = deep / "e"
    while here != tmp_path:
        here.rmdir()
        here = here.parent


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            make_folders(path)


def test_whether_a_folder_can_be_written_to_is_found_out_without_writing(tmp_path, monkeypatch):
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file is a file"):
        check_writable(tmp_path / "file" / "a")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OutputError, match="cannot be written to; give yourself write permission"):
        check_writable(tmp_path / "a")
