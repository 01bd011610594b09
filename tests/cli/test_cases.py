import pytest

from ct_vae.cli.cases import find_cases
from ct_vae.errors import ConfigError
from ct_vae.io import write_volume
from tests._small import ct_volume
from tests.cli._run import call
from tests.io._series import make_series, save, write_series


@pytest.fixture
def mixed(tmp_path):
    """A series, and a localizer beside it."""
    folder = write_series(tmp_path / "in", make_series())
    localizer = make_series(1, seed=4)[0]
    localizer.SeriesInstanceUID, localizer.ImageType = "1.2.9", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(localizer, folder / "scout")
    return folder


def test_skipped_series_are_told_on_stderr_with_their_reason(mixed, capsys):
    (case,) = find_cases([str(mixed)])
    assert case.path.name.startswith("#s003_")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "is skipped: a localizer (scout view)" in err


def test_nothing_is_told_where_nothing_is_skipped(tmp_path, capsys):
    write_volume(ct_volume(), tmp_path / "a.nii")
    assert len(find_cases([str(tmp_path)])) == 1
    assert capsys.readouterr().err == ""


def test_keys_are_unique_unless_they_name_nothing(tmp_path):
    for site in ("s1", "s2"):
        write_volume(ct_volume(), tmp_path / site / "case.nii.gz")
    sites = [str(tmp_path / "s1"), str(tmp_path / "s2")]
    with pytest.raises(ConfigError, match="same output name"):
        find_cases(sites)
    assert len(find_cases(sites, unique=False)) == 2


@pytest.mark.parametrize(
    "args",
    [
        ("encode",),
        ("reconstruct",),
        ("evaluate", "--no-panels"),
        ("sample", "--count", "0"),
    ],
)
def test_commands_that_read_series_say_what_they_skip(model_folder, mixed, tmp_path, args):
    command, *options = args
    code, text = call(command, model_folder, mixed, "-o", tmp_path / "out", *options)
    assert code == 0, text
    assert text.count("a localizer (scout view)") == 1


@pytest.mark.parametrize("command", ["encode", "evaluate", "reconstruct", "sample"])
def test_output_names_that_cannot_be_are_one_line(model_folder, tmp_path, command):
    write_volume(ct_volume(), tmp_path / "a.nii")
    options = ["--count", 0] if command == "sample" else []
    target = tmp_path / ("x" * 300)
    code, text = call(command, model_folder, tmp_path / "a.nii", "-o", target, *options)
    assert code == 7, text
    assert "File name too long" in text
