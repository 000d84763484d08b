"""The command ``scenegraph-track``: one file a command; heavy libraries are imported where they are used."""

from __future__ import annotations

import os
import sys
import warnings

from scenegraph_track.cli.app import run

__all__ = ["main"]

# Here, so that worker processes have it too.  Products of small matrices gain nothing from threads, and must not depend
# on their number; the warning is about torch_geometric's use of torch and says nothing to a user.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated", category=FutureWarning)


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))
