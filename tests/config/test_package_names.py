from pathlib import Path

import pytest

from ct_vae.config.package_names import is_package_name, is_unknown_name, name_hint

NAMES = ("ct-f4", "ct-f8")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """The working directory has a folder with the name of a model, and a file."""
    monkeypatch.chdir(tmp_path)
    Path("ct-f4").mkdir()
    Path("file").touch()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("ct-f4", True),
        ("./ct-f4", False),
        (Path("ct-f4"), False),
        (Path("ct-f8"), True),
        ("ct-f16", False),
    ],
)
def test_text_is_a_name_first_and_a_path_is_a_path_if_it_exists(given, named):
    assert is_package_name(given, NAMES) is named


@pytest.mark.parametrize(
    ("given", "unknown"),
    [("ct-f9", True), ("file", False), ("folder/ct-f9", False), ("model.json", False)],
)
def test_only_bare_names_of_nothing_are_unknown(given, unknown):
    assert is_unknown_name(given) is unknown


def test_the_hint_has_the_closest_name():
    assert name_hint("CT-F4", NAMES, "models") == "did you mean ct-f4? models are ct-f4, ct-f8"
    assert name_hint("unet", NAMES, "models") == "models are ct-f4, ct-f8"
    assert name_hint("unet", (), "models") == "models are not installed"
