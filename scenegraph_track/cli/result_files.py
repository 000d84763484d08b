"""Result files that are judged, and the ground truth that they are judged against."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from scenegraph_track.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from scenegraph_track.data.sequences import Sequence
    from scenegraph_track.evaluation.sources import ResultSource, TruthSource

logger = logging.getLogger(__name__)


def annotated_sequences(source: str) -> list[Sequence]:
    """The sequences at a path that have boxes with identities as ground truth.

    Raises:
        UserError: There are none.
    """
    from scenegraph_track.data.sequences import find_sequences

    sequences = [s for s in find_sequences(source) if s.truth is not None and s.kind in ("mot", "kitti")]
    if not sequences:
        raise UserError(f"{source}: expected sequences with ground truth (gt/gt.txt), found none")
    return sequences


def result_files(sequences: list[Sequence], results: Path) -> dict[str, Path]:
    """The result file of each sequence; TrackEval's folder ``data`` in between is accepted.

    Raises:
        UserError: The file of a sequence is missing.
    """
    if results.is_file() and len(sequences) == 1:
        return {sequences[0].name: results}
    if not results.is_dir():
        raise UserError(f"{results}: expected a folder with <sequence>.txt for {len(sequences)} sequences")
    files = {s.name: (results / f"{s.name}.txt", results / "data" / f"{s.name}.txt") for s in sequences}
    found = {name: next((path for path in paths if path.is_file()), None) for name, paths in files.items()}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise UserError(f"{results}: expected {missing[0]}.txt{more}, found no such file")
    return {name: path for name, path in found.items() if path is not None}


def read_result(path: Path) -> ResultSource:
    """The rows of a result file; that there are none is warned of.

    Raises:
        FormatError: The file holds no such rows.
    """
    from scenegraph_track.data.mot import read_rows
    from scenegraph_track.evaluation.sources import ResultSource

    rows = read_rows(path)
    if not len(rows):
        logger.warning("%s: there are no boxes in this file, so nothing counts as found", path)
    return ResultSource(rows, path, _lines(path))


def read_truth(sequence: Sequence) -> TruthSource:
    """The ground truth of a sequence of ``annotated_sequences``.

    Raises:
        FormatError: The file holds no such rows.
    """
    from scenegraph_track.data.mot import read_rows
    from scenegraph_track.evaluation.sources import TruthSource

    assert sequence.truth is not None
    if sequence.kind == "mot":
        rows, lines = read_rows(sequence.truth), _lines(sequence.truth)
    else:  # KITTI: every labelled object counts, whatever its class
        rows, lines = sequence.read_truth().tracks.to_mot()[:, :6], None
    frames = sequence.length or int(rows[:, 0].max(initial=0))
    return TruthSource(rows, sequence.truth, lines, frames=frames)


def _lines(path: Path) -> np.ndarray:
    """The 1-based line of each row of a table; blank lines are none."""
    import numpy as np

    from scenegraph_track.files import read_text

    lines = enumerate(read_text(path).split("\n"), 1)
    return np.array([number for number, line in lines if line.strip(",; \t")], dtype=np.int64)
