"""The command ``scenegraph-track``: one file a command; heavy libraries are imported where they are used."""

from __future__ import annotations

import os
import sys

from scenegraph_track.cli.app import run

__all__ = ["main"]

# Here, so that worker processes have it too.  Products of small matrices gain nothing from threads, and must not depend
# on their number.  The hub's library warns of each of its attempts; what has become of them is said in one sentence.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_VERBOSITY", "error")


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))
