import json
import os
import threading
from dataclasses import replace

import pytest

from ct_vae.batch import pipeline
from ct_vae.batch.failures import FAILURES, FailureList
from ct_vae.batch.lease import Leases, lease_path
from ct_vae.batch.pipeline import Kept, Pipeline, Work
from ct_vae.batch.shard import Shard
from ct_vae.errors import ConfigError, InputError, OutputError, StoppedError
from ct_vae.find_volumes.cases import Case
from tests._asserts import assert_only_files


class Bench:
    """A pipeline of numbers in a folder, and what has happened in it."""

    def __init__(self, folder, **changes):
        self.folder, self.lines, self.beside, self.events = folder, [], [], []
        self.cases = [Case(folder / f"{i}.in", str(i)) for i in range(4)]
        work = Work(
            target=lambda case: folder / f"{case.key}.out",
            read=lambda case: self.events.append(("read", case.key)) or int(case.key),
            make=self.make,
            write=self.write,
            read_bytes=lambda _: 100,
            write_bytes=lambda _: 10,
            room=lambda: 1000,
        )
        self.work = replace(work, **changes)

    def make(self, case, given, beside):
        self.events.append(("make", case.key))
        self.beside.append(beside)
        return given * 2

    def write(self, case, made):
        self.work.target(case).write_text(str(made))
        return case.key

    def run(self, stopped=lambda: None):
        failures = FailureList(self.folder, "test", Shard())
        return Pipeline(self.work, failures, self.lines.append, stopped).run(self.cases)

    def done(self):
        return {p.name: p.read_text() for p in self.folder.iterdir()}


ALL = {f"{i}.out": str(2 * i) for i in range(4)}


def test_every_case_is_done_and_reported_in_order(tmp_path):
    bench = Bench(tmp_path)
    assert bench.run() == 0
    assert bench.done() == ALL
    assert bench.lines == [f"[{i + 1}/4] {i}" for i in range(4)]


def test_the_next_is_read_and_the_last_written_while_one_is_made(tmp_path):
    """Each waits for the other: in turns, neither would end."""
    read, written = threading.Event(), threading.Event()

    def read_one(case):
        if case.key == "2":
            read.set()
        return int(case.key)

    def make(case, given, beside):
        if case.key == "1":
            assert read.wait(60)
            written.set()
        return given * 2

    def write(case, made):
        if case.key == "0":
            assert written.wait(60)
        return bench.write(case, made)

    bench = Bench(tmp_path)
    bench.work = replace(bench.work, read=read_one, make=make)
    inner = replace(bench.work, write=write)
    bench.work = inner
    assert bench.run() == 0
    assert bench.done() == ALL


def test_no_more_than_one_case_is_read_ahead(tmp_path):
    bench = Bench(tmp_path)
    bench.run()
    place = {event: i for i, event in enumerate(bench.events)}
    for i in range(2):
        assert place["read", str(i + 2)] > place["make", str(i)]


@pytest.mark.parametrize(
    ("size", "room", "ahead"), [(100, 1000, True), (300, 1000, False), (None, 1000, False)]
)
def test_reading_ahead_is_counted_and_left_where_memory_is_short(tmp_path, size, room, ahead):
    bench = Bench(tmp_path, read_bytes=lambda _: size, room=lambda: room)
    bench.work = replace(bench.work, write=lambda *_: "")
    bench.run()
    assert [b >= (size or 0) and b > 10 for b in bench.beside] == [*[ahead] * 3, False]


def test_a_result_being_written_is_counted(tmp_path):
    begun = threading.Event()

    def make(case, given, beside):
        bench.beside.append(beside)
        if len(bench.beside) == 2:
            begun.set()
        return given

    bench = Bench(tmp_path, read_bytes=lambda _: None, write=lambda *_: str(begun.wait(60)))
    bench.work = replace(bench.work, make=make)
    bench.run()
    assert bench.beside[:2] == [0, 10]


def test_what_memory_does_not_hold_next_to_others_is_made_alone(tmp_path):
    def make(case, given, beside):
        if beside:
            raise ConfigError("too little memory")
        return given * 2

    bench = Bench(tmp_path, make=make)
    assert bench.run() == 0
    assert bench.done() == ALL


@pytest.mark.parametrize("part", ["read", "make", "write", "read_bytes"])
def test_a_case_that_fails_in_any_part_is_listed_and_the_others_are_finished(tmp_path, part):
    bench = Bench(tmp_path)
    real = getattr(bench.work, part)

    def bad(case, *rest):
        if case.key == "1":
            raise InputError("bad case")
        return real(case, *rest)

    bench.work = replace(bench.work, **{part: bad})
    assert bench.run() == (0 if part == "read_bytes" else 8)
    if part == "read_bytes":
        assert bench.done() == ALL
        return
    assert bench.done().keys() == ALL.keys() - {"1.out"} | {FAILURES}
    assert "error: bad case" in bench.lines


@pytest.mark.parametrize(
    ("part", "error"), [("make", ConfigError("no")), ("write", OutputError("full"))]
)
def test_what_concerns_all_ends_the_work_and_leaves_nothing(tmp_path, part, error):
    def bad(*_):
        raise error

    bench = Bench(tmp_path, **{part: bad})
    with pytest.raises(type(error)):
        bench.run()
    assert_only_files(tmp_path, set())


def test_a_signal_lets_the_case_that_was_begun_be_finished(tmp_path):
    bench = Bench(tmp_path)
    with pytest.raises(StoppedError, match="stopped by SIGTERM after 2 of 4 cases"):
        bench.run(lambda: "SIGTERM" if ("make", "1") in bench.events else None)
    assert bench.done() == {"0.out": "0", "1.out": "2"}


@pytest.fixture
def impatient(monkeypatch):
    """Others are waited for no longer than a test takes."""
    monkeypatch.setattr(pipeline, "_PATIENCE_S", 0.5)
    monkeypatch.setattr(pipeline, "_TIMES_AS_LONG", 0.0)


def test_what_another_process_never_ends_is_listed_and_ends_with_8(tmp_path, impatient):
    bench = Bench(tmp_path)
    with Leases() as others:
        others.take(tmp_path / "2.out")
        assert bench.run() == 8
        assert lease_path(tmp_path / "2.out").exists()
    assert bench.done().keys() == ALL.keys() - {"2.out"} | {FAILURES}
    told = json.loads((tmp_path / FAILURES).read_text())
    assert told["case"] == str(bench.cases[2].path)
    assert told["cause"].startswith(f"left to process {os.getpid()} on ")
    assert any("[3/4]" in line and "2.out is left to process" in line for line in bench.lines)
    assert bench.lines[-1] == "waiting for 1 cases of other processes"


@pytest.mark.parametrize("written", ["before", "while it was held", "not at all"])
def test_what_another_process_gives_back_is_done_unless_it_was_done_meanwhile(tmp_path, written):
    bench, others = Bench(tmp_path), Leases()
    target = tmp_path / "2.out"
    if written == "before":
        target.write_text("old")
        os.utime(target, (1, 1))

    def make(case, given, beside):
        if case.key == "3":
            if written == "while it was held":
                target.write_text("theirs")
            others.give_back(target)
        return given * 2

    bench.work = replace(bench.work, make=make)
    with others:
        others.take(target)
        assert bench.run() == 0
    theirs = {"2.out": "theirs"} if written == "while it was held" else {}
    assert bench.done() == ALL | theirs
    assert (f"[3/4] {target} was made by process" in "\n".join(bench.lines)) == bool(theirs)


def test_a_signal_ends_the_waiting(tmp_path):
    bench = Bench(tmp_path)

    def stopped():
        # Leases come and go meanwhile, so that nothing is read here.
        names = {path.name for path in tmp_path.iterdir()}
        return "SIGINT" if names >= ALL.keys() - {"2.out"} else None

    with Leases() as others:
        others.take(tmp_path / "2.out")
        with pytest.raises(StoppedError, match="while 1 cases were left to other processes"):
            bench.run(stopped)


def test_a_case_fails_when_its_turn_comes_after_waiting(tmp_path):
    bench, others = Bench(tmp_path), Leases()

    def make(case, given, beside):
        if case.key == "3":
            others.give_back(tmp_path / "2.out")
        if case.key == "2":
            raise InputError("bad case")
        return given * 2

    bench.work = replace(bench.work, make=make)
    with others:
        others.take(tmp_path / "2.out")
        assert bench.run() == 8
    assert json.loads((tmp_path / FAILURES).read_text())["cause"] == "bad case"


def test_what_is_vouched_for_is_kept_without_being_read(tmp_path):
    bench = Bench(tmp_path)
    bench.work = replace(
        bench.work, kept=lambda case: Kept("is there") if case.key == "1" else None
    )
    assert bench.run() == 0
    assert bench.done().keys() == ALL.keys() - {"1.out"}
    assert ("read", "1") not in bench.events
    assert "[2/4] is there" in bench.lines


def test_what_is_kept_is_reported_and_let_go(tmp_path):
    bench = Bench(tmp_path, make=lambda *_: Kept("is done already"))
    bench.run()
    assert_only_files(tmp_path, set())
    assert bench.lines[3] == "[4/4] is done already"


def test_a_lease_lasts_until_the_result_is_written(tmp_path):
    seen = []
    bench = Bench(
        tmp_path, write=lambda case, _: seen.append(lease_path(bench.work.target(case)).exists())
    )
    bench.run()
    assert seen == [True] * 4
