import errno
import json
from pathlib import Path

import pytest

from ct_vae.batch.run_batch import concerns_all, run_batch
from ct_vae.errors import ConfigError, InputError, OutputError
from ct_vae.find_volumes.case import FoundCases
from ct_vae.find_volumes.cases import Case
from ct_vae.find_volumes.left_out import LeftOut

CASES = [Case(Path(f"{name}.nii"), name) for name in "abc"]


def output_error(number):
    error = OutputError("cannot write")
    error.__cause__ = OSError(number, "reason")
    return error


def failing(*keys, error=InputError):
    def work(case):
        if case.key in keys:
            raise error(f"{case.key} is bad")

    return work


@pytest.mark.parametrize(
    ("cases", "bad", "code"),
    [(CASES, "", 0), (CASES, "b", 8), (CASES, "abc", 8), (CASES[:1], "a", 4)],
)
def test_all_cases_are_processed_and_failures_listed(tmp_path, cases, bad, code):
    lines = []
    assert run_batch(cases, failing(*bad), "encode", tmp_path, lines.append) == code
    path = tmp_path / "failures.jsonl"
    listed = [json.loads(line)["case"] for line in path.read_text().splitlines()] if bad else []
    assert listed == [f"{key}.nii" for key in bad]
    assert [line for line in lines if line.startswith("error: ")] == [
        f"error: {key} is bad" for key in bad
    ]
    assert path.exists() is bool(bad)


def test_an_error_of_all_cases_ends_the_batch(tmp_path):
    done = []

    def work(case):
        done.append(case.key)
        raise output_error(errno.ENOSPC)

    with pytest.raises(OutputError):
        run_batch(CASES, work, "encode", tmp_path, print)
    assert done == ["a"]


@pytest.mark.parametrize(
    ("error", "concerns"),
    [
        (InputError("damaged"), False),
        (ConfigError("wrong option"), True),
        (OutputError("no space"), True),
        (output_error(errno.ENOSPC), True),
        (output_error(errno.ENAMETOOLONG), False),
        (output_error(errno.EISDIR), False),
    ],
)
def test_errors_of_a_single_name_do_not_concern_all(error, concerns):
    assert concerns_all(error) is concerns


def test_files_in_unsupported_formats_are_listed_and_counted(tmp_path):
    left = LeftOut(Path("d.mnc"), "unread", "MINC is not read")
    lines = []
    code = run_batch(FoundCases(CASES, [left]), failing(), "encode", tmp_path, lines.append)
    assert code == 8
    assert "d.mnc" in (tmp_path / "failures.jsonl").read_text()
    assert any("left out" in line for line in lines)
