import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ct_vae
from ct_vae.errors import OutputError
from ct_vae.terminal import (
    flush_streams,
    guard_streams,
    say,
    show,
    show_json,
    show_text,
)
from tests.cli._run import process

FULL = Path("/dev/full")
EVIL = "a\x1b[31m\nb\u202e"
HARMLESS = "a\\x1b[31m\\nb\\u202e"


def test_lines_are_escaped_on_both_streams(capsys):
    show(EVIL)
    say(EVIL)
    shown = capsys.readouterr()
    assert shown.out == shown.err == f"{HARMLESS}\n"


def test_documents_keep_their_lines(capsys):
    show_text("one\ntwo\x1b\n")
    show_json({"name": EVIL})
    assert capsys.readouterr().out == ('one\ntwo\\x1b\n{\n  "name": "a\\u001b[31m\\nb\\u202e"\n}\n')


def test_a_full_disk_is_reported_once_on_standard_output_and_never_on_standard_error(monkeypatch):
    with FULL.open("w") as out, FULL.open("w") as err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        guard_streams()
        with pytest.raises(OutputError, match="cannot write to standard output: No space left"):
            show("x")
        show("x")
        say("x")
        flush_streams()


def test_a_pipe_that_nobody_reads_takes_everything(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        guard_streams()
        for _ in range(3):
            show("x" * 10_000)
        flush_streams()


def test_a_process_without_streams_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    guard_streams()
    show("x")
    say("x")
    flush_streams()


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [["--help"], ["config", "schema"], ["--version"]])
def test_output_onto_a_full_disk_ends_with_7_and_one_line(command, unbuffered):
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ct_vae", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 7
    assert done.stderr.splitlines() == [
        "error: cannot write to standard output: No space left on device; "
        "send it to a disk with free space"
    ]


def test_a_reader_that_leaves_early_ends_nothing():
    producer = subprocess.Popen(
        [sys.executable, "-m", "ct_vae", "config", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    producer.stdout.close()
    assert producer.stderr.read() == b""
    assert producer.wait() == 0
    producer.stderr.close()


def test_messages_of_the_program_show_names_escaped(tmp_path):
    done = process("info", tmp_path / "a\n\x1b[2J.nii")
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}/a\\n\\x1b[2J.nii: there is no such file"
    ]


BARRED = {"print", "typer.echo", "typer.secho", "Console", "rich.print"}


def _shown_otherwise(tree):
    """Calls that would put text on the terminal without this module."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in BARRED or name.startswith(("sys.stdout.", "sys.stderr.")):
            yield f"{name} in line {node.lineno}"


def test_nothing_is_shown_but_through_this_module():
    root = Path(ct_vae.__file__).parent
    # The last two run as processes of their own, which answer their parent over a pipe.
    exempt = {"terminal.py", "gdcm_worker.py", "unpickle.py"}
    files = [path for path in root.rglob("*.py") if path.name not in exempt]
    assert len(files) > 200
    found = {
        str(path.relative_to(root)): list(_shown_otherwise(ast.parse(path.read_text())))
        for path in files
    }
    assert {name: calls for name, calls in found.items() if calls} == {}
