import json
from pathlib import Path

import pytest

from ct_vae.batch.failures import FailureList, failures_name
from ct_vae.batch.shard import Shard
from ct_vae.errors import InputError, OutputError
from ct_vae.find_volumes.cases import Case
from tests._asserts import assert_only_files

A, B = (Case(Path(f"{name}.nii"), name) for name in "ab")


def listed(folder, shard=Shard()):  # noqa: B008 - frozen
    path = folder / failures_name(shard)
    lines = path.read_text().splitlines() if path.exists() else []
    return [(each["stage"], each["case"]) for each in map(json.loads, lines)]


def test_shards_have_lists_of_their_own_and_those_of_another_division_go(tmp_path):
    for i in range(2):
        FailureList(tmp_path, "encode", Shard(i, 2)).add((A, B)[i], InputError("bad"))
    assert [listed(tmp_path, Shard(i, 2)) for i in range(2)] == [
        [("encode", "a.nii")],
        [("encode", "b.nii")],
    ]
    FailureList(tmp_path, "decode", Shard(0, 3)).add(A, InputError("bad"))
    assert listed(tmp_path, Shard(1, 2)) == [("encode", "b.nii")]
    FailureList(tmp_path, "encode", Shard())
    assert_only_files(tmp_path, {"failures_0_of_3.jsonl"})


def test_processes_without_shards_add_to_one_list(tmp_path):
    first, second = (FailureList(tmp_path, "encode", Shard()) for _ in range(2))
    first.add(A, InputError("bad"))
    second.add(B, InputError("bad"))
    second.add(A, InputError("bad"))
    assert listed(tmp_path) == [("encode", "b.nii"), ("encode", "a.nii")]


def test_exit_codes(tmp_path):
    failures = FailureList(tmp_path, "encode", Shard())
    assert failures.exit_code(3) == 0
    failures.add(A, InputError("bad"))
    assert (failures.exit_code(1), failures.exit_code(3)) == (4, 8)


def test_a_list_that_is_none_is_replaced(tmp_path):
    (tmp_path / "failures.jsonl").write_text("not a list\n")
    FailureList(tmp_path, "encode", Shard()).add(A, InputError("bad"))
    assert listed(tmp_path) == [("encode", "a.nii")]


def test_a_folder_that_is_a_file_is_reported(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="cannot write into"):
        FailureList(tmp_path / "out", "encode", Shard())
