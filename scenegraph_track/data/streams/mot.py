"""Writing a stream in the MOTChallenge 2016 layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenegraph_track.data.streams.stream import Stream
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_folder


def write_mot(stream: Stream, folder: str | Path, overwrite: bool = False) -> Path:
    """Write a stream as ``<folder>/<name>/{gt/gt.txt, det/det.txt, seqinfo.ini}``, whole or not at all.

    ``gt.txt`` has 9 columns (frame from 1, id, left, top, width, height, 1, class 1, visibility), ``det.txt`` has 10
    (frame from 1, -1, left, top, width, height, score, -1, -1, -1).

    Args:
        stream: The sequence.
        folder: Folder of sequences; it is made if need be.
        overwrite: Replace a sequence of the same name.

    Returns:
        The folder of the sequence.

    Raises:
        UserError: The sequence exists already and ``overwrite`` is false.
    """
    target = Path(folder) / stream.name
    if target.exists() and not overwrite:
        raise UserError(f"{target}: the sequence exists already; pass overwrite=True to replace it")
    one = np.ones((len(stream.truth_frame), 1))
    truth = np.hstack(
        [
            stream.truth_frame[:, None] + 1,
            stream.truth_id[:, None],
            _left_top_size(stream.truth_boxes),
            one,
            one,
            stream.truth_visibility[:, None],
        ]
    )
    none = -np.ones((len(stream.det_frame), 1))
    detections = np.hstack(
        [
            stream.det_frame[:, None] + 1,
            none,
            _left_top_size(stream.det_boxes),
            stream.det_scores[:, None],
            none,
            none,
            none,
        ]
    )
    box = ["%.2f"] * 4
    width, height = stream.image_size
    with atomic_folder(target, overwrite) as there:
        (there / "gt").mkdir()
        (there / "det").mkdir()
        np.savetxt(there / "gt/gt.txt", truth, ["%d", "%d", *box, "%d", "%d", "%.4f"], delimiter=",")
        np.savetxt(there / "det/det.txt", detections, ["%d", "%d", *box, "%.6f", "%d", "%d", "%d"], delimiter=",")
        (there / "seqinfo.ini").write_text(
            f"[Sequence]\nname={stream.name}\nimDir=img1\nframeRate={stream.frame_rate:g}\n"
            f"seqLength={stream.frames}\nimWidth={width}\nimHeight={height}\nimExt=.jpg\n",
            encoding="utf-8",
        )
    return target


def _left_top_size(boxes: np.ndarray) -> np.ndarray:
    return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
