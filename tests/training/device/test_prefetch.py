"""Order of copies and steps, with stand-ins for the streams of a GPU that note what is asked."""

from contextlib import contextmanager

import pytest
import torch

from ct_vae.training.device.prefetch import prefetched

GPU = torch.device("cuda", 0)


class Stream:
    """Stream with a name, which notes what is put into it."""

    def __init__(self, name, notes):
        self.name, self.notes = name, notes

    def record_event(self):
        self.notes.append(f"{self.name}: record")
        return self.notes[-2]

    def wait_event(self, event):
        self.notes.append(f"{self.name}: wait for {event}")


class Batch:
    """Batch that notes where it is copied."""

    def __init__(self, number, streams, notes):
        self.number, self.streams, self.notes = number, streams, notes

    def to(self, device, non_blocking=False):
        assert (device, non_blocking) == (GPU, True)
        self.notes.append(f"{self.streams[-1].name}: copy {self.number}")
        return self

    def record_stream(self, stream):
        self.notes.append(f"{stream.name}: uses {self.number}")


@pytest.fixture
def gpu(monkeypatch):
    """Gives a list of notes, and a function that makes a batch."""
    notes = []
    streams = [Stream("steps", notes)]

    @contextmanager
    def within(stream):
        streams.append(stream)
        yield
        streams.pop()

    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream("copies", notes))
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: streams[-1])
    return notes, lambda number: Batch(number, streams, notes)


def test_a_batch_is_copied_after_the_step_before_has_started_and_used_after_its_copy(gpu):
    notes, make = gpu
    for batch in prefetched(iter([make(1), make(2)]), GPU):
        # Steps are asynchronous: this one computes while the next batch is copied.
        notes.append(f"steps: step {batch.number}")
    assert notes == [
        "copies: copy 1",
        "copies: record",
        "steps: wait for copies: copy 1",
        "steps: uses 1",
        "steps: step 1",
        "copies: copy 2",
        "copies: record",
        "steps: wait for copies: copy 2",
        "steps: uses 2",
        "steps: step 2",
    ]


def test_errors_come_at_their_batch(gpu):
    notes, make = gpu

    def broken():
        yield make(1)
        raise OSError("gone")

    batches = prefetched(broken(), GPU)
    assert next(batches).number == 1
    assert notes[-1] == "steps: uses 1"
    with pytest.raises(OSError, match="gone"):
        next(batches)


def test_on_the_cpu_batches_stay_as_they_are():
    batches = [torch.ones(2), torch.zeros(3)]
    assert list(prefetched(iter(batches), torch.device("cpu"))) == batches
