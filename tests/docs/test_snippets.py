"""Every command and every snippet of the documents works as it stands."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from ct_vae.cli.main import app
from tests.docs._snippets import (
    PAGES,
    ROOT,
    blocks_of,
    copy_of,
    lines_of,
    make_folder,
    make_results,
    run,
    run_console,
)

_RUN = {"bash", "console", "python"}
# Pages that begin with results of other pages.
_WITH_RESULTS = {"show.md", "latents.md", "evaluate.md"}
# Bundles and exports take more than a few seconds.
_SLOW = {"monai.md"}


def name_of(page):
    return str(page.relative_to(ROOT))


def runnable():
    for page in PAGES:
        if any(block.kind in _RUN for block in blocks_of(page)):
            marks = [pytest.mark.slow] if page.name in _SLOW else []
            yield pytest.param(page, id=name_of(page), marks=marks)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    make_folder(folder)
    return folder


@pytest.mark.filterwarnings("ignore::ct_vae.models.autoencoder.UntrainedWarning")
# MONAI 1.6.1 tries a GPU decoder, which is not installed, whenever it makes readers.
@pytest.mark.filterwarnings("ignore:.*nvImageCodec:UserWarning")
@pytest.mark.parametrize("page", list(runnable()))
def test_the_snippets_of_a_page_run_one_after_the_other(page, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(copy_of(inputs, tmp_path / "work"))
    if page.name in _WITH_RESULTS:
        make_results(tmp_path / "work")
    names = {"__name__": "snippet"}
    for block in blocks_of(page):
        if block.kind == "bash":
            for line in lines_of(block.code):
                run(line)
        elif block.kind == "console":
            run_console(block.code)
        elif block.kind == "python":
            exec(compile(block.code, name_of(page), "exec"), names)
        elif block.title:
            Path(block.title).write_text(block.code, "utf-8")


def options():
    """Names of the options of each command."""
    found = {}

    def add(group, words):
        names = {name for p in group.params for name in (*p.opts, *p.secondary_opts)}
        found[words] = names | {"--help", "-h"}
        for name, command in getattr(group, "commands", {}).items():
            add(command, (*words, name))

    add(typer.main.get_command(app), ())
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_not_run_have_options_that_exist(page):
    known = options()
    text = page.read_text("utf-8")
    inline = re.findall(r"`(ct-vae [^`]+)`", text)
    shown = [line for b in blocks_of(page) if b.kind == "sh" for line in lines_of(b.code)]
    for line in (*inline, *shown):
        # A command may follow a launcher, and a placeholder may stand for anything.
        found = re.search(r"(?:ct-vae|-m ct_vae) +([\w-].*)", line)
        if found is None:
            continue
        words = shlex.split(found[1].replace("...", ""), comments=True)
        command = ()
        while words and (*command, words[0]) in known:
            command = (*command, words.pop(0))
        assert command or words[0].isupper() or words[0].startswith("-"), line
        given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        if command:
            assert given <= known[command], line


def test_a_wrong_output_is_noticed(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(inputs)
    with pytest.raises(AssertionError):
        run_console("$ ct-vae config check quickstart\nquickstart: wrong\n")
    run_console("$ ct-vae config check quickstart\nquickstart: ok\n")
