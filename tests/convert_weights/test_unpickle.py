import zipfile

import pytest

from ct_vae.convert_weights import unpickle


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"<html>", b"\x80\x02nonsense"])
def test_what_is_no_pickle_is_refused_on_one_line(tmp_path, content):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(unpickle.Refusal) as caught:
        unpickle.read(str(path))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("damaged, or a pickle with more than tensors: ")
    # PyTorch's advice is to read the file unsafely.
    assert "weights_only" not in str(caught.value)


def test_a_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(unpickle.Refusal, match="damaged, or a pickle with more"):
        unpickle.read(str(tmp_path / "x.pt"))
