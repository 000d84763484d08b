"""Write frames as an MP4 that browsers play."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.codec.codec import UnknownCodecError
from av.video.reformatter import VideoReformatter

from scenegraph_track.errors import UserError

ENCODERS = {
    # x264's macroblock tree reads memory that it has not written: with it two runs give different bytes
    "libx264": {"preset": "veryfast", "crf": "20", "x264-params": "mbtree=0"},
    "libvpx-vp9": {"crf": "30", "b": "0", "cpu-used": "6", "deadline": "realtime", "row-mt": "0"},
}
"""Encoders in order of preference (H.264, then VP9, which browsers play in MP4 too) and their settings."""

THREADS = 2
"""Fixed, since the bytes that an encoder writes depend on it."""

_TICKS = 90_000
"""Ticks a second of the timestamps: 24, 25, 30, 50, 60 and 29.97 frames a second are whole numbers of them."""


class VideoWriter:
    """Context manager that encodes frames; the file appears when the block ends well, and nothing is left otherwise.

    The same frames give the same bytes.  Odd sizes are padded by one column or row, since H.264 with 4:2:0 colour has
    even sizes only.

    Args:
        path: File to write; its name ends in ``.mp4``.
        size: (W, H) of the frames in pixels.
        frame_rate: Frames a second.

    Raises:
        UserError: The path, the size or the rate cannot be used, or nothing was written.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], frame_rate: float) -> None:
        self.path, self.size, self.frame_rate = Path(path), (int(size[0]), int(size[1])), float(frame_rate)
        if self.path.suffix.lower() != ".mp4":
            raise UserError(f"{path}: expected the name of a video to write, ending in .mp4")
        if not self.path.parent.is_dir():
            raise UserError(f"{path}: expected an existing folder to write into, found no {self.path.parent}")
        if min(self.size) < 1:
            raise UserError(f"{path}: expected a size (W, H) of at least one pixel, found {tuple(size)}")
        if not 0 < self.frame_rate < float("inf"):
            raise UserError(f"{path}: expected a positive frame rate, found {frame_rate}")
        self._unfinished = self.path.with_name(f".{self.path.name}.part")
        self._first: float | None = None
        self._last: float | None = None

    def __enter__(self) -> VideoWriter:
        encoder = _encoder()
        width, height = (side + side % 2 for side in self.size)
        try:
            self._container = av.open(
                str(self._unfinished), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
            )
        except OSError as error:
            raise UserError(f"{self.path}: expected a place to write to ({error.strerror})") from error
        rate = Fraction(self.frame_rate).limit_denominator(1001)
        self._stream = self._container.add_stream(encoder, rate=rate, options=dict(ENCODERS[encoder]))
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._stream.time_base = Fraction(1, _TICKS)
        context.thread_count = THREADS
        context.colorspace = context.color_primaries = context.color_trc = (
            1  # BT.709, limited range: what browsers assume
        )
        context.color_range = 1
        self._to_yuv = VideoReformatter()
        return self

    def write(self, rgb: np.ndarray, timestamp: float | None = None) -> None:
        """Append one frame.

        Args:
            rgb: (H, W, 3) uint8 of the size given at the start.
            timestamp: Seconds, later than the frame before; the video starts at that of its first frame.  Without one
                the frame follows ``1 / frame_rate`` after the one before it.
        """
        if rgb.shape != (self.size[1], self.size[0], 3) or rgb.dtype != np.uint8:
            expected = (self.size[1], self.size[0], 3)
            raise UserError(f"{self.path}: expected frames {expected} uint8, found {rgb.shape} {rgb.dtype}")
        if timestamp is None:
            timestamp = 0.0 if self._last is None else self._last + 1.0 / self.frame_rate
        if self._last is not None and not timestamp > self._last:
            raise UserError(f"{self.path}: expected rising timestamps, found {timestamp} s after {self._last} s")
        self._first = timestamp if self._first is None else self._first
        self._last = timestamp
        down, right = self.size[1] % 2, self.size[0] % 2
        if down or right:
            rgb = cv2.copyMakeBorder(rgb, 0, down, 0, right, cv2.BORDER_REPLICATE)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame = self._to_yuv.reformat(
            frame, format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", threads=1
        )
        frame.time_base = Fraction(1, _TICKS)
        frame.pts = round((timestamp - self._first) * _TICKS)
        frame.duration = round(_TICKS / self.frame_rate)
        self._container.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._last is not None:
                self._container.mux(self._stream.encode())
                self._container.close()
                self._unfinished.replace(self.path)
            else:
                self._container.close()
        finally:
            self._unfinished.unlink(missing_ok=True)
        if kind is None and self._last is None:
            raise UserError(f"{self.path}: expected at least one frame to write, found none")


def write_video(path: str | Path, size: tuple[int, int], frame_rate: float) -> VideoWriter:
    """Write a video: ``with write_video("out.mp4", (640, 480), 25.0) as video: video.write(rgb)``.

    Args:
        path: File to write, ending in ``.mp4``; it is replaced when the block ends without an error.
        size: (W, H) of the frames in pixels.
        frame_rate: Frames a second, for frames that come without a timestamp.

    Returns:
        A context manager whose ``write(rgb, timestamp=None)`` appends a frame.

    Raises:
        UserError: The path, the size or the rate cannot be used.
    """
    return VideoWriter(path, size, frame_rate)


def _encoder() -> str:
    for name in ENCODERS:
        try:
            av.Codec(name, "w")
        except UnknownCodecError:
            continue
        return name
    raise UserError(f"PyAV: expected one of the encoders {', '.join(ENCODERS)}, this build has none of them")
