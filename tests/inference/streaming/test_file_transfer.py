"""Transfers to and from files beside a device that copies as late as it may."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ct_vae.inference.streaming import feature_buffer
from ct_vae.inference.streaming.feature_file import FeatureFile
from ct_vae.inference.streaming.file_transfer import FileTransfer
from tests.inference._exact import given as input_of
from tests.inference._exact import halves, run, tiny
from tests.inference.streaming._late_device import late_staging, prompt_staging

SIZE = 2048


def values_of(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (size,), generator=generator, dtype=torch.uint8)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_read_is_what_was_written_however_late_the_device_copies(
    tmp_path, monkeypatch, data
):
    piece = data.draw(st.sampled_from([64, 100, 512]))
    expected = values_of(SIZE)
    with (
        closing(FeatureFile(SIZE, tmp_path)) as file,
        late_staging(monkeypatch) as (device, staging),
    ):
        writer = FileTransfer(file, staging, SIZE, piece)
        at, counts = 0, data.draw(st.lists(st.integers(1, 700), max_size=6))
        while at < SIZE:
            count = min(counts.pop() if counts else SIZE, SIZE - at)
            writer.write(at, expected[at : at + count].clone())
            at += count
        writer.finish()
        readers = [FileTransfer(file, staging, SIZE, piece) for _ in range(2)]
        slab = data.draw(st.integers(1, 900))
        found = []
        reads = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3)), max_size=12)
        for number, place in data.draw(reads):
            reader, start = readers[number], place * slab % SIZE
            out = torch.zeros(min(slab, SIZE - start), dtype=torch.uint8)
            reader.read(start, out)
            found.append((start, out))
        device.run()
    for start, out in found:
        assert torch.equal(out, expected[start : start + len(out)])


def test_a_write_after_a_read_is_not_hidden_by_what_was_read_ahead(tmp_path, monkeypatch):
    with (
        closing(FeatureFile(SIZE, tmp_path)) as file,
        late_staging(monkeypatch) as (device, staging),
    ):
        transfer = FileTransfer(file, staging, SIZE)
        transfer.write(0, values_of(SIZE))
        transfer.read(0, torch.zeros(64, dtype=torch.uint8))
        transfer.write(64, values_of(64, seed=1))
        out = torch.zeros(64, dtype=torch.uint8)
        transfer.read(64, out)
        device.run()
    assert torch.equal(out, values_of(64, seed=1))


def test_writing_does_not_wait_for_the_file_and_reading_is_ahead(tmp_path, monkeypatch):
    gate, accesses = threading.Event(), []
    with closing(FeatureFile(SIZE, tmp_path)) as file, late_staging(monkeypatch) as (_, staging):
        write, read = file.write, file.read
        monkeypatch.setattr(
            file, "write", lambda *a: (gate.wait(), accesses.append("write"), write(*a))
        )
        monkeypatch.setattr(file, "read", lambda *a: (accesses.append("read"), read(*a)))
        transfer = FileTransfer(file, staging, SIZE)
        for k in range(2):
            transfer.write(64 * k, values_of(64))
        assert not accesses
        gate.set()
        transfer.finish()
        assert accesses == ["write"] * 2
        transfer.read(0, torch.zeros(64, dtype=torch.uint8))
        staging.worker.submit(int).result()
        assert accesses == ["write"] * 2 + ["read"] * 2
        transfer.read(64, torch.zeros(64, dtype=torch.uint8))
        staging.worker.submit(int).result()
        assert accesses == ["write"] * 2 + ["read"] * 3


def test_two_pieces_of_memory_serve_all_slabs(tmp_path):
    sizes = []
    with closing(FeatureFile(SIZE, tmp_path)) as file, ThreadPoolExecutor(1) as worker:
        staging = prompt_staging(worker)
        counted = type(staging)(
            staging.device,
            lambda size: (sizes.append(size), staging.allocate(size))[1],
            staging.record,
            worker,
        )
        transfer = FileTransfer(file, counted, SIZE, piece=64)
        for k in range(4):
            transfer.write(1000 * k, values_of(1000))
        transfer.finish()
    assert sizes == [64, 64]


def test_a_failed_write_is_an_error_when_the_map_is_finished(tmp_path, monkeypatch):
    with closing(FeatureFile(SIZE, tmp_path)) as file, late_staging(monkeypatch) as (_, staging):
        transfer = FileTransfer(file, staging, SIZE)

        def full(*_):
            raise OSError("disk failed")

        monkeypatch.setattr(file, "write", full)
        transfer.write(0, values_of(64))
        with pytest.raises(OSError, match="disk failed"):
            transfer.finish()


@pytest.mark.parametrize("name", ["kl group attention", "kl circular", "kl linear strides"])
@pytest.mark.parametrize("kind", ["disk", "host"])
def test_a_network_gives_the_same_with_buffers_beside_the_device(monkeypatch, name, kind):
    """The thread that feeds the device never waits for it."""
    model = tiny(name)
    x = input_of(model, (16, 8, 8), decodes=False)
    module = halves(model)[0]
    expected = run(module, x, 1)
    real = feature_buffer.FeatureBufferPool.__init__

    def staged(self, device, disk_bytes=0):
        real(self, device, disk_bytes)
        self.staging = prompt_staging(self._worker)

    monkeypatch.setattr(feature_buffer.FeatureBufferPool, "__init__", staged)
    assert torch.equal(run(module, x, 1, kind), expected)
