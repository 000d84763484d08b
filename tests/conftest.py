"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
