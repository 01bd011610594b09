from pathlib import Path

import pytest

from ct_vae.batch.failures import FailureList
from ct_vae.batch.lease import Leases
from ct_vae.batch.shard import Shard
from ct_vae.batch.status import BatchStatus, batch_status
from ct_vae.errors import InputError
from ct_vae.find_volumes.cases import Case
from ct_vae.io import write_latent
from tests.io._samples import latent_of

CASES = {name: Case(Path(f"in/{name}.nii"), name) for name in ("done", "failed", "left", "runs")}


@pytest.fixture
def folder(tmp_path):
    """A complete latent, and a failure of another case."""
    write_latent(latent_of(), tmp_path / "done_latent.nii.gz")
    FailureList(tmp_path, "encode", Shard()).add(CASES["failed"], InputError("it is bad"))
    return tmp_path


def test_each_case_has_one_state(folder):
    with Leases() as leases:
        assert leases.take(folder / "runs_latent.nii.gz") is None
        status = batch_status(folder, list(CASES.values()))
    assert status.facts() == {
        "done": ["done"],
        "failed": {"failed": "it is bad"},
        "running": ["runs"],
        "left": ["left"],
        "not_read": {},
    }
    assert status.line() == "1 done, 1 failed, 1 running, 1 left of 4 cases"
    assert status.retry == [CASES["failed"], CASES["left"]]


def test_a_damaged_latent_is_left(folder):
    path = folder / "done_latent.nii.gz"
    path.write_bytes(path.read_bytes()[:-1])
    assert batch_status(folder, [CASES["done"]]).left == [CASES["done"]]


def test_failures_of_other_inputs_and_stages(folder):
    FailureList(folder, "decode", Shard()).add(CASES["left"], InputError("decoding failed"))
    status = batch_status(folder, [CASES["left"]])
    assert status.left == [CASES["left"]]
    assert status.unread == {"in/failed.nii": "it is bad"}


def test_an_empty_batch_has_a_line_too():
    assert BatchStatus().line() == "0 done of 0 cases"


@pytest.mark.parametrize("damage", [b'{"case', b"[]", b"1", b'{"stage": "encode"}', b"\xff"])
def test_a_damaged_list_of_failures_is_reported(folder, damage):
    path = folder / "failures.jsonl"
    path.write_bytes(path.read_bytes() + damage + b"\n")
    status = batch_status(folder, [CASES["done"], CASES["failed"]])
    assert (status.done, status.failed) == ([CASES["done"]], {CASES["failed"]: "it is bad"})
    assert status.unread == {
        "failures.jsonl": "this list of failures is damaged; encode writes it again"
    }
