"""Ctrl-C as a wish."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from scenegraph_track.training.interrupts import stop_signals


@pytest.mark.usefixtures("ctrl_c")
def test_the_first_signal_is_a_wish_and_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_signals() as stop:
        assert not stop.wished
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wished
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_threads_have_no_handlers() -> None:
    seen: list[bool] = []

    def work() -> None:
        with stop_signals() as stop:
            seen.append(stop.wished)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_worker_outlives_ctrl_c_but_not_sigterm() -> None:
    with stop_signals() as stop:
        worker = os.fork()
        if worker == 0:
            end = time.monotonic() + 10
            while time.monotonic() < end:
                time.sleep(0.01)
            os._exit(0)
        os.kill(worker, signal.SIGINT)
        time.sleep(0.1)
        assert os.waitpid(worker, os.WNOHANG) == (0, 0)
        os.kill(worker, signal.SIGTERM)
        assert os.WTERMSIG(os.waitpid(worker, 0)[1]) == signal.SIGTERM
        assert not stop.wished
