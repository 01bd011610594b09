import os
import re
import subprocess
import sys
from inspect import cleandoc

import pytest
import typer
from typer.testing import CliRunner

from ct_vae.cli.help import _PANELS, completing, placeholder
from ct_vae.cli.main import app
from ct_vae.io import write_volume
from tests._small import ct_volume
from tests.cli._run import call
from tests.cli.test_interface import commands

PROGRAM = "from ct_vae.cli.main import run; run()"
ROOT = typer.main.get_command(app)


def command(name):
    found = ROOT
    for word in name.split():
        found = found.commands[word]
    return found


NAMES = sorted(name for name in commands(ROOT) if not hasattr(command(name), "commands"))


def help_of(*words):
    done = CliRunner().invoke(app, words, env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_a_description_and_an_example_of_itself(name):
    text = cleandoc(command(name).callback.__doc__)
    assert text.splitlines()[0].endswith(".")
    assert f"Example: ct-vae {name}" in text


@pytest.mark.parametrize("words", [(), ("encode",), ("config",), ("config", "show")])
def test_both_help_options_work_everywhere(words):
    assert help_of(*words, "-h") == help_of(*words, "--help")


@pytest.mark.parametrize("name", NAMES)
def test_values_have_one_style_of_placeholders(name):
    shown = help_of(*name.split(), "--help")
    assert not re.search(r"<\w+.*?>|\[\w+\.\.\.\]|\.\.\.\}", shown), shown


def test_options_are_grouped_in_one_order():
    shown = help_of("evaluate", "--help")
    titles = re.findall(r"─ ([A-Z][\w ]+?) ─", shown)
    assert titles[0] == "Arguments"
    assert [title for title in titles if title in _PANELS] == list(_PANELS)


def test_the_groups_name_options_that_exist_and_name_them_once():
    named = " ".join(_PANELS.values()).split()
    assert len(named) == len(set(named))
    known = {option for options in commands(ROOT).values() for option in options}
    assert set(named) - {"--help"} <= known


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("<int range>", "N"),
        ("<float,float,float>...", "X X X"),
        ("<list[a|b]>", "a|b"),
        ("<bool>", ""),
        ("<list[str]>", "TEXT"),
    ],
)
def test_placeholders(shown, expected):
    assert placeholder(shown) == expected


def test_names_of_models_and_configurations_are_completed_before_paths(tmp_path):
    (tmp_path / "ct_scans").mkdir()

    def complete(words):
        environment = {"_CT_VAE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "2"}
        done = subprocess.run(
            [sys.executable, "-c", "import sys; sys.argv = ['ct-vae']; " + PROGRAM],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert complete("ct-vae encode ct") == ["ct-f4", "ct-f4c16", "ct_scans"]


def test_paths_are_completed_below_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a1").mkdir(parents=True)
    complete = completing(lambda: ["quickstart"])
    assert complete("qu") == ["quickstart"]
    assert complete("runs/a") == ["runs/a1"]
    assert complete("absent/a") == []
    assert complete(f"{tmp_path}/r") == [f"{tmp_path}/runs"]


def _choices(name):
    """Options of a command that take one of several words."""
    found = command(name)
    context = found.make_context(name, [], resilient_parsing=True)
    shown = {each.opts[0]: str(each.display_type(context)) for each in found.get_params(context)}
    return [option for option, text in shown.items() if option.startswith("--") and "|" in text]


@pytest.mark.parametrize("name", NAMES)
def test_wrong_choices_are_named_without_words_of_the_parser(name):
    for option in _choices(name):
        done = CliRunner().invoke(app, [*name.split(), option, "foo"], env={"COLUMNS": "300"})
        assert done.exit_code == 2
        assert f"'{option}'" in done.output
        assert "'foo' is not one of '" in done.output
        assert "Value error" not in done.output


@pytest.mark.parametrize("value", ["-3", "three"])
def test_wrong_numbers_are_stated(value):
    words = ["encode", "ct-f4", "x", "-o", "y", "--seed", value]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert f"got '{value}'" in done.output


@pytest.mark.parametrize(
    ("args", "url"),
    [
        (
            ["latent", "convert", "a_latent.nii.gz", "--dtype", "int16", "-o", "s3://b/x"],
            "s3://b/x",
        ),
        (["show", "a.nii.gz", "-o", "gs://b/x.html"], "gs://b/x.html"),
        (["scan", "a", "file:///b/x"], "file:///b/x"),
        (["compare", "memory://x", "a", "-o", "b"], "memory://x"),
    ],
)
def test_urls_are_refused_where_a_local_path_is_taken(args, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = call(*args)
    assert (code, text.split(" ", 1)[0]) == (2, url)
    assert "is a URL" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["encode", "ct-f4", "", "-o", "x"], "an argument is an empty text"),
        (["encode", "ct-f4", "a.nii.gz", "-o", ""], "the value of -o is an empty text"),
        (["scan", ""], "an argument is an empty text"),
        (["latent", "convert", "a.nii.gz", "--output", ""], "the value of --output is an empty"),
    ],
)
def test_empty_paths_are_refused(args, named, tmp_path, monkeypatch):
    """An unset variable of a shell must not make the working folder the input or output."""
    monkeypatch.chdir(tmp_path)
    write_volume(ct_volume((8, 8, 8)), tmp_path / "a.nii.gz")
    code, text = call(*args)
    assert code == 2
    assert text.startswith(named)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]


def test_values_of_other_options_may_be_empty():
    code, text = call("train", "quickstart", "--set", "", "--dry-run")
    assert code == 2
    assert "is an empty text" not in text
