from __future__ import annotations

import configparser
from pathlib import Path

import numpy as np
import pytest

from scenegraph_track.data.streams import simulate, write_mot
from scenegraph_track.errors import UserError


def test_files_hold_the_stream(tmp_path: Path) -> None:
    stream = simulate("street", 4, frames=50)
    folder = write_mot(stream, tmp_path)
    assert folder == tmp_path / stream.name
    truth = np.loadtxt(folder / "gt/gt.txt", delimiter=",")
    assert truth.shape[1] == 9
    assert np.array_equal(truth[:, 0] - 1, stream.truth_frame)  # files count frames from 1
    assert np.array_equal(truth[:, 1], stream.truth_id)
    assert np.hstack([truth[:, 2:4], truth[:, 2:4] + truth[:, 4:6]]) == pytest.approx(stream.truth_boxes, abs=0.011)
    assert (truth[:, 6:8] == 1).all()
    assert truth[:, 8] == pytest.approx(stream.truth_visibility, abs=1e-4)
    detections = np.loadtxt(folder / "det/det.txt", delimiter=",")
    assert detections.shape == (len(stream.det_frame), 10)
    assert np.array_equal(detections[:, 0] - 1, stream.det_frame)
    boxes = np.hstack([detections[:, 2:4], detections[:, 2:4] + detections[:, 4:6]])
    assert boxes == pytest.approx(stream.det_boxes, abs=0.011)
    assert detections[:, 6] == pytest.approx(stream.det_scores, abs=1e-6)
    info = configparser.ConfigParser()
    info.read(folder / "seqinfo.ini")
    assert int(info["Sequence"]["seqLength"]) == 50
    assert float(info["Sequence"]["frameRate"]) == pytest.approx(stream.frame_rate)
    assert (int(info["Sequence"]["imWidth"]), int(info["Sequence"]["imHeight"])) == stream.image_size


def test_an_existing_sequence_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    stream = simulate("street", 4, frames=10)
    write_mot(stream, tmp_path)
    with pytest.raises(UserError, match="exists already"):
        write_mot(stream, tmp_path)
    write_mot(stream, tmp_path, overwrite=True)
