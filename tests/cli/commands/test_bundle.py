from tests.cli._run import call


def test_bundle_writes_a_folder_once(model_folder, tmp_path):
    code, text = call("bundle", model_folder, "-o", tmp_path / "b")
    assert code == 0
    assert (tmp_path / "b" / "configs" / "metadata.json").is_file()
    assert str(tmp_path / "b") in text
    assert call("bundle", model_folder, "-o", tmp_path / "b")[0] == 7
    assert call("bundle", model_folder, "-o", tmp_path / "b", "--overwrite")[0] == 0
