"""Ctrl-C as a wish."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from scenegraph_track.training.interrupts import leave_signals_to_parent, stop_signals


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


@pytest.mark.usefixtures("ctrl_c")
def test_a_worker_leaves_signals_to_its_parent() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        leave_signals_to_parent(0)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
