import json

import pytest

from ct_vae.batch.failures import FailureList
from ct_vae.batch.shard import Shard
from ct_vae.batch.summary import Counts, add_unread, summary_lines
from ct_vae.errors import InputError
from ct_vae.find_volumes.cases import Case
from ct_vae.find_volumes.left_out import left_out_file


def lines(folder, counts, failed=0, left=0):
    failures = FailureList(folder, "encode", Shard())
    for i in range(failed):
        failures.add(Case(folder / f"bad{i}.nii", f"bad{i}"), InputError("bad"))
    for i in range(left):
        failures.add_left(Case(folder / f"left{i}.nii", f"left{i}"), "process 1 on a")
    return list(summary_lines("encode", counts, failures)), failures.exit_code(2)


@pytest.mark.parametrize("counts", [Counts(), Counts(done=1), Counts(kept=1)])
def test_one_case_that_is_done_needs_no_summary(tmp_path, counts):
    assert lines(tmp_path, counts) == ([], 0)


def test_every_end_is_counted(tmp_path):
    told, code = lines(tmp_path, Counts(done=3, kept=2), failed=1)
    assert told == [f"encode: 3 done, 2 kept, 1 failed (see {tmp_path / 'failures.jsonl'})"]
    assert code == 8


def test_what_a_search_left_out_is_counted_and_unread_volumes_are_failures(tmp_path):
    failures = FailureList(tmp_path, "encode", Shard())
    left_out = [left_out_file(tmp_path / name) for name in ("a.mgz", "b.txt")]
    add_unread(failures, left_out)
    assert list(summary_lines("encode", Counts(done=1), failures, left_out)) == [
        f"encode: 1 done, 1 failed (see {tmp_path / 'failures.jsonl'})",
        "encode: left out: 1 volume in an unsupported format, 1 other file (1 .txt)",
    ]
    told = json.loads((tmp_path / "failures.jsonl").read_text())
    assert (told["case"], told["stage"]) == (str(tmp_path / "a.mgz"), "encode")
    assert told["cause"].startswith("not read: a FreeSurfer volume")
    assert failures.exit_code(1) == 8


def test_cases_that_were_left_have_a_line_of_their_own(tmp_path):
    told, code = lines(tmp_path, Counts(), left=1)
    assert told == [
        "warning: encode: not done, as other processes have not finished: left0; "
        "run the same command again"
    ]
    assert code == 8
    told, _ = lines(tmp_path, Counts(done=1), left=12)
    assert told[0].startswith("encode: 1 done, 12 left to other processes (see ")
    assert "left9 and 2 more; " in told[1]
