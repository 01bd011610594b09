import os
import signal
import threading

import pytest

from ct_vae.batch.signals import StopRequest


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_the_first_signal_is_noted_and_then_the_old_handlers_are_back(name):
    came = []
    number = signal.Signals[name]
    before = signal.signal(number, lambda *_: came.append(name))
    try:
        with StopRequest() as stop:
            assert stop.name is None
            os.kill(os.getpid(), number)
            assert stop.name == name
            assert came == []
            os.kill(os.getpid(), number)
            assert came == [name]
    finally:
        signal.signal(number, before)


def test_without_a_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_another_thread_nothing_is_taken_over():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with StopRequest() as stop:
            seen.append((stop.name, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]


def test_further_hangups_of_a_dropped_connection_are_ignored_until_the_work_is_saved():
    came = []
    before = signal.signal(signal.SIGHUP, lambda *_: came.append("SIGHUP"))
    try:
        with StopRequest() as stop:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGHUP)
            assert (stop.name, came) == ("SIGHUP", [])
        os.kill(os.getpid(), signal.SIGHUP)
        assert came == ["SIGHUP"]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nohup_stays_in_force():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.name is None
    finally:
        signal.signal(signal.SIGHUP, before)
