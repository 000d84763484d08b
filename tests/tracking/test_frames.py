"""The frames of a sequence, with and without images, whole and broken."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from scenegraph_track.data.sequences import Sequence, find_sequences
from scenegraph_track.data.video_writer import write_video
from scenegraph_track.tracking.frames import SequenceFrames


def images(folder: Path, count: int, broken: tuple[int, ...] = ()) -> Sequence:
    folder.mkdir(exist_ok=True)
    for index in range(count):
        path = folder / f"{index + 1:03d}.png"
        cv2.imwrite(str(path), np.full((24, 32, 3), 10 * index, np.uint8))
        if index in broken:
            path.write_bytes(b"broken")
    return find_sequences(folder)[0]


def test_without_images() -> None:
    # Length, rate and size are those of the sequence.
    sequence = Sequence("a", "mot", Path("a"), frame_rate=10.0, length=3, size=(32, 24))
    frames = SequenceFrames(sequence, decode=False, least=5)
    assert [(f.index, f.timestamp, f.size, f.image) for f in frames] == [
        (0, 0.0, (32, 24), None),
        (1, 0.1, (32, 24), None),
        (2, 0.2, (32, 24), None),
    ]
    assert frames.count == frames.length == 3


def test_length_by_detections() -> None:
    # Nothing tells the length but the last detection.
    assert len(list(SequenceFrames(Sequence("a", "mot", Path("a")), decode=False, least=5))) == 5


def test_decoded_only_where_wanted(tmp_path: Path) -> None:
    sequence = images(tmp_path / "a", 3)
    assert [f.image is None for f in SequenceFrames(sequence, decode=False)] == [True] * 3
    seen = list(SequenceFrames(sequence, decode=True))
    assert [round(float(f.image.mean()) * 255) for f in seen] == [0, 10, 20]


@pytest.mark.parametrize("broken", [(1,), (2, 3), (4,), (0,)])
def test_broken_images_are_frames_without_image(tmp_path: Path, broken: tuple[int, ...]) -> None:
    # In the middle, two in a row, at the end, at the start: numbers and times stay those of the whole sequence.
    frames = SequenceFrames(images(tmp_path / "a", 5, broken), decode=True)
    for _ in range(2):  # a second pass is the same
        seen = list(frames)
        assert [f.index for f in seen] == [0, 1, 2, 3, 4]
        np.testing.assert_allclose([f.timestamp for f in seen], np.arange(5) / 30, atol=1e-9)
        assert tuple(f.index for f in seen if f.image is None) == broken
        assert tuple(b.index for b in frames.broken) == broken
        assert frames.count == 5


def test_video_has_its_own_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.4, 0.5]
    with write_video(tmp_path / "a.mp4", (32, 24), 10.0) as video:
        for time in times:
            video.write(np.zeros((24, 32, 3), np.uint8), time)
    sequence = find_sequences(tmp_path / "a.mp4")[0]
    frames = SequenceFrames(sequence, decode=True)
    np.testing.assert_allclose([f.timestamp for f in frames], times, atol=1e-3)
    assert frames.size == (32, 24)


def test_video_that_is_not_decoded(tmp_path: Path) -> None:
    # Rate, length and size are read all the same.
    with write_video(tmp_path / "a.mp4", (32, 24), 10.0) as video:
        for _ in range(4):
            video.write(np.zeros((24, 32, 3), np.uint8))
    seen = list(SequenceFrames(find_sequences(tmp_path / "a.mp4")[0], decode=False, least=2))
    assert [f.index for f in seen] == [0, 1, 2, 3]
    np.testing.assert_allclose([f.timestamp for f in seen], [0, 0.1, 0.2, 0.3], atol=1e-6)
    assert seen[0].size == (32, 24) and seen[0].image is None
