"""Fixtures that every test may use."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("quick", max_examples=40, deadline=None)
hypothesis.settings.load_profile("quick")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real evaluation data; tests that need it skip where it is absent.

    Looked for in the environment variable SCENEGRAPH_TRACK_DATA, then in ``shared/data`` beside the checkout.
    """
    checkout = Path(__file__).resolve().parents[1]
    for folder in (os.environ.get("SCENEGRAPH_TRACK_DATA"), checkout.parent / "shared" / "data"):
        if folder and Path(folder).is_dir():
            return Path(folder)
    pytest.skip("needs the real evaluation data: set SCENEGRAPH_TRACK_DATA to its folder")


@pytest.fixture
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> BaseContext:
    """Makes every process that the code spawns in this test one with the heavy libraries loaded already.

    They are forked from a server that loads them once a session; a spawned one takes seconds to do it.  All else is as
    for spawned ones: they begin with nothing of this process but what is pickled.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    heavy = ["cv2", "torch_geometric.data", "scenegraph_track.tracking.run", "scenegraph_track.training.run"]
    context.set_forkserver_preload(heavy)
    monkeypatch.setitem(multiprocessing.context._concrete_contexts, "spawn", context)
    return context


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT interrupts, also where a shell has started the tests with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
