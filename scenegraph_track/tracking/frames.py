"""The frames of a sequence in order and without gaps, decoded only where somebody looks at them."""

from __future__ import annotations

from collections.abc import Iterator

from scenegraph_track.data.measured import read_measured
from scenegraph_track.data.sequences import Sequence
from scenegraph_track.data.video import BrokenFrame, VideoReader, read_video
from scenegraph_track.structures import Frame


class SequenceFrames:
    """Every frame of a sequence once, each time it is iterated.

    A frame that is not decoded, or cannot be, comes without image, so that its detections still count.

    Args:
        sequence: The sequence.
        decode: Read its images.
        least: Frames that there are at least (the last that has a detection), where nothing else tells the length.
        measured: Give frames the measured depth and poses that lie beside them.

    Attributes:
        frame_rate: Frames per second.
        length: Number of frames, or None where only the end of the video tells.
        size: (W, H) in pixels, or None where nothing tells.
        count: Number of frames that the last iteration has given.

    Raises:
        UserError: The images or the video cannot be read.
    """

    def __init__(self, sequence: Sequence, decode: bool, least: int = 0, measured: bool = False) -> None:
        self.frame_rate, self.length, self.size = sequence.frame_rate, sequence.length, sequence.size
        self._reader: VideoReader | None = None
        if sequence.video is not None:
            rate = sequence.frame_rate if sequence.frame_rate_known else None
            reader = read_video(sequence.video, frame_rate=rate)
            self.frame_rate, self.length, self.size = reader.frame_rate, reader.length, reader.size
            self._reader = reader if decode else None
        elif sequence.images and decode:
            self._reader = read_video(sequence.images, stop=sequence.length or None, frame_rate=sequence.frame_rate)
            self.size = self._reader.size
        self._filled = sequence.video is None or not decode  # what a video promises is no more than a guess
        if self.length is None and self._filled:
            self.length = least
        self._measured = read_measured(sequence.measured) if measured and sequence.measured is not None else None
        self.count = 0

    @property
    def broken(self) -> tuple[BrokenFrame, ...]:
        """The frames that could not be read in the last iteration."""
        return () if self._reader is None else tuple(self._reader.broken)

    def __iter__(self) -> Iterator[Frame]:
        self.count = 0
        for frame in self._frames():
            self.count += 1
            yield frame if self._measured is None else self._measured.added_to(frame)

    def _frames(self) -> Iterator[Frame]:
        step, index, time = 1 / self.frame_rate, 0, 0.0
        for frame in self._reader or ():
            gap = frame.index - index + 1
            before = time - step if index else frame.timestamp - gap * step
            for k in range(1, gap):
                yield Frame(index, before + (frame.timestamp - before) * k / gap, size=self.size)
                index += 1
            yield frame
            index, time = index + 1, frame.timestamp + step
        while self._filled and index < (self.length or 0):
            yield Frame(index, time if self._reader else index / self.frame_rate, size=self.size)
            index, time = index + 1, time + step
