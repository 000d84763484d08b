"""Decode a video file frame by frame, over damage, with true frame numbers and times."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from scenegraph_track.errors import FormatError, UserError

_NO_VIDEO_FORMATS = ("tty", "image2", "lrc", "srt", "webvtt", "ass")
_TABLED_FORMATS = ("mov", "avi")
_LARGEST_GAP = 10.0
"""Seconds; a longer jump of the timestamps is a cut in the recording, not lost frames."""


class VideoFile:
    """One video file or stream address, decoded by PyAV.

    The number of a frame is its place in presentation order, counting the frames that the decoder could not deliver:
    every packet that goes into the decoder has a timestamp, and one that lies before the timestamp of a delivered frame
    without having been delivered itself is lost.  Where the container keeps no table of its packets (Matroska, MPEG-TS)
    and runs at a constant rate, a gap between the timestamps is lost frames too.  (AVI keeps no times of B-frames:
    there the number of a lost frame is true to within 16 frames only.)

    Args:
        path: File or address.
        frame_rate: Replaces the times of the file by ``index / frame_rate``; None keeps the times of the file.

    Attributes:
        frame_rate: Average frames a second.
        length: Number of frames as the header promises it, or None.
        size: (W, H) of the picture as it is shown (after rotation).

    Raises:
        UserError: The file does not exist.
        FormatError: It is empty, or holds no picture that can be decoded.
    """

    def __init__(self, path: str | Path, frame_rate: float | None = None) -> None:
        self.name = str(path)
        self._given_rate = frame_rate
        if "://" not in self.name:
            if not Path(path).is_file():
                raise UserError(
                    f"{path}: expected a video file, found {'a folder' if Path(path).exists() else 'nothing'}"
                )
            if Path(path).stat().st_size == 0:
                raise FormatError(path, None, "a video file", "an empty file")
        with _opened(self.name) as container:
            stream = _video_stream(container, self.name)
            rate = float(stream.average_rate or stream.guessed_rate or 25.0)
            self.frame_rate = frame_rate or rate
            self.length = stream.frames or _length_from_duration(container, stream, rate)
        first = next(self.pictures(0, None, lambda *lost: None), None)
        if first is None:
            raise FormatError(self.name, None, "a video", "no frame that can be decoded")
        self.size = (first[2].shape[1], first[2].shape[0])

    def where(self, index: int) -> str:
        """What messages call a frame."""
        return f"{self.name}: frame {index}"

    def pictures(
        self, start: int, stop: int | None, note: Callable[..., None]
    ) -> Iterator[tuple[int, float, np.ndarray]]:
        """Yield (index, seconds since the first frame, (H, W, 3) uint8 RGB).

        ``note(index, reason)`` gets lost ones; ``note(index, reason, True)`` that none comes from there on.
        """
        with _opened(self.name) as container:
            stream = _video_stream(container, self.name)
            to_rgb = VideoReformatter()
            numbering = _Numbering(container, stream)
            last, read = -np.inf, 0
            for frame in _decode(container, stream, numbering):
                placed = numbering.place(frame)
                if placed is None:
                    continue
                index, lost = placed
                for number, reason in lost:
                    if stop is None or number < stop:
                        note(number, reason)
                if stop is not None and index >= stop:
                    return
                timestamp = index / self.frame_rate
                if self._given_rate is None and numbering.timed and frame.pts is not None:
                    timestamp = float((frame.pts - numbering.origin) * stream.time_base)
                last = timestamp if timestamp > last else last + 1.0 / self.frame_rate
                read += not frame.is_corrupt
                if frame.is_corrupt:
                    note(index, "it is damaged")
                elif index >= start:
                    rgb = to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray()
                    yield index, last, np.ascontiguousarray(np.rot90(rgb, frame.rotation // 90))
            for number, reason, ends in numbering.rest(read):
                if stop is None or number < stop:
                    note(number, reason, ends)


def broken_off(path: Path) -> str | None:
    """Says what is there of a video file that breaks off before the end that it announces; nothing is decoded.

    None where it is whole, or announces no end.

    Raises:
        UserError: It is no video.
    """
    with _opened(str(path)) as container:
        stream = _video_stream(container, str(path))
        numbering, read = _Numbering(container, stream), 0
        for packet in _packets(container, stream):
            numbering.enter(packet)
            read += not packet.is_corrupt
        numbering.count_gaps()
        return numbering.broken_off(read)


def _opened(name: str) -> InputContainer:
    try:
        return av.open(name)
    except InvalidDataError as error:
        raise FormatError(name, None, f"a video ({error.strerror})") from error
    except (FFmpegError, OSError) as error:
        raise UserError(f"{name}: expected a video ({getattr(error, 'strerror', None) or error})") from error


class _Numbering:
    """Which packets are still in the decoder, and from that the number of each frame that comes out.

    Args:
        container: The opened file.
        stream: Its video stream.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        tabled = any(name in container.format.name.split(",") for name in _TABLED_FORMATS)
        # AVI gives packets the time at which they are decoded: with B-frames that is not the time of the picture.
        self._slack = 16 if container.format.name == "avi" and stream.codec_context.has_b_frames else 0
        self.timed = self._slack == 0
        self._whole = tabled  # a recording may start in the middle of a group of pictures, a table does not
        self._rate = stream.average_rate or 0
        self._time_base = stream.time_base
        self._watch_gaps = not tabled and self._rate > 0 and stream.base_rate == self._rate
        self._silent = stream.codec_context.name == "vp8"  # its hidden reference frames are packets without a picture
        self._promised = stream.frames if container.format.name == "avi" else len(stream.index_entries)
        if "matroska" in container.format.name and len(container.streams) == 1 and not stream.start_time:
            self._promised = round((container.duration or 0) / av.time_base * self._rate) * self._watch_gaps
        self._waiting: list[int] = []
        self._given_up: deque[int] = deque(maxlen=64)
        self._next = self._packets = self._gaps = 0
        self._previous: int | None = None
        self.origin: int | None = None

    def enter(self, packet: Packet) -> None:
        """A packet goes into the decoder."""
        self._packets += 1
        if packet.pts is not None and not packet.is_discard:
            insort(self._waiting, packet.pts)

    def count_gaps(self) -> None:
        """Look for gaps where all packets have entered and none of them has been decoded."""
        if self._watch_gaps and self._waiting:
            steps = (self._waiting[-1] - self._waiting[0]) * self._time_base * self._rate
            self._gaps = max(round(steps) + 1 - self._packets, 0)

    def place(self, frame: VideoFrame) -> tuple[int, list[tuple[int, str]]] | None:
        """The number of a decoded frame, and the numbers of the frames before it that did not come, with the reason.

        None for a frame that comes after later ones, when it has been called lost: damage upsets the decoder's order.
        """
        key, lost, missing = frame.pts, 0, 0
        if key in self._given_up:
            return None
        if key is not None:
            position = bisect_left(self._waiting, key)
            if position < len(self._waiting) and self._waiting[position] == key:
                del self._waiting[position]
            lost = bisect_left(self._waiting, key - self._slack)
            skipped, self._waiting = self._waiting[:lost], self._waiting[lost:]
            self._given_up.extend(skipped)
            if self.origin is None:
                self.origin = min([key, *skipped]) if self._whole else key
                lost = lost if self._whole else 0
            if self._silent or frame.interlaced_frame:
                lost = 0
            if self._watch_gaps and self._previous is not None:
                steps = float((key - self._previous) * self._time_base * self._rate)
                self._watch_gaps = abs(steps - round(steps)) < 0.25
                if self._watch_gaps and steps < _LARGEST_GAP * self._rate:
                    missing = max(round(steps) - 1 - lost, 0)
            self._previous = key
            self._gaps += missing
        first, self._next = self._next, self._next + lost + missing + 1
        reasons = ["it cannot be decoded"] * lost + ["it is missing from the file"] * missing
        return self._next - 1, list(enumerate(reasons, first))

    def rest(self, read: int) -> list[tuple[int, str, bool]]:
        """What did not come when the file has ended: one entry a packet, or one for all where the file breaks off.

        Args:
            read: Number of frames that came.

        Returns:
            Number of the frame, the reason, and whether it is that of all the next ones.
        """
        if reason := self.broken_off(read):
            return [(self._next, reason, True)]
        waiting = 0 if self._silent else len(self._waiting)
        return [(self._next + i, "it cannot be decoded", False) for i in range(waiting)]

    def broken_off(self, read: int) -> str | None:
        """Says that the file has ended before it was to end, where it has; ``read`` frames came."""
        if self._promised <= self._packets + self._gaps:
            return None
        return f"the video breaks off: {read} of its {self._promised} frames can be read"


def _decode(container: InputContainer, stream: VideoStream, numbering: _Numbering) -> Iterator[VideoFrame]:
    # Threads over slices only: with threads over frames an error at the end takes good frames with it.
    stream.thread_type = "SLICE"
    for packet in chain(_packets(container, stream), [None]):  # None: what the decoder still holds can be shown
        if packet is not None:
            numbering.enter(packet)
        try:
            yield from stream.decode(packet)
        except EOFError:  # the decoder was already emptied
            return
        except FFmpegError:  # the numbering finds the lost frame
            pass


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """The packets up to the end of the file, or where it breaks off."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError:
            return
        if packet is None or not packet.size:
            return
        yield packet


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams or container.format.name in _NO_VIDEO_FORMATS:
        raise FormatError(name, None, "a video", "no pictures in this file")
    return streams[0]


def _length_from_duration(container: InputContainer, stream: VideoStream, frame_rate: float) -> int | None:
    if stream.duration is not None:
        return max(round(stream.duration * stream.time_base * frame_rate), 1)
    if container.duration is not None:
        return max(round(container.duration / av.time_base * frame_rate), 1)
    return None
