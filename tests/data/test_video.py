"""Video in and out, on small videos that are made here and then damaged."""

from __future__ import annotations

import hashlib
import logging
import random
import re
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from scenegraph_track.data import video_writer, webcam
from scenegraph_track.data.video import BrokenFrame, read_video, write_video
from scenegraph_track.data.video_file import broken_off
from scenegraph_track.errors import FormatError, UserError

SIZE = (160, 120)


def picture(i: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A gradient that says its number (below 50): the grey of the middle is 5 * i."""
    y, x = np.mgrid[: size[1], : size[0]]
    rgb = np.stack([(x + 2 * i) % 256, (2 * y + i) % 256, (x + y) % 256], -1).astype(np.uint8)
    rgb[size[1] // 4 : 3 * size[1] // 4, size[0] // 4 : 3 * size[0] // 4] = 5 * (i % 50)
    return rgb


def number_of(frame) -> int:
    return round(float(frame.image[:, SIZE[1] // 2, SIZE[0] // 2].mean()) * 51)


def encode(path: Path, codec: str = "libx264", count: int = 40, pix_fmt: str = "yuv420p", rate: int = 25) -> Path:
    """Forty frames with a key frame every twelve, by PyAV alone."""
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, pix_fmt
        for i in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode())
    return path


def spoil(path: Path, packet: int) -> int:
    """Overwrite one packet with garbage and return the number of the frame it held, in order of presentation."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size]
    data, (start, size, pts) = bytearray(path.read_bytes()), packets[packet]
    data[start : start + size] = random.Random(0).randbytes(size)
    path.write_bytes(data)
    return sorted(p[2] for p in packets).index(pts)


# --- reading video files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),  # B-frames: decoded in another order than shown
        ("a.mkv", "libx264", "yuv420p"),  # no frame count in the header
        ("a.ts", "libx264", "yuv420p"),  # times do not start at 0
        ("a.avi", "libx264", "yuv420p"),  # the container has no times of presentation
        ("b.avi", "mjpeg", "yuvj420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
def test_every_container_gives_true_numbers_and_times(tmp_path, name, codec, pix_fmt):
    reader = read_video(encode(tmp_path / name, codec, pix_fmt=pix_fmt))
    assert (reader.size, reader.frame_rate, reader.length) == (SIZE, 25.0, 40)
    seen = [(f.index, round(f.timestamp * 25, 3), number_of(f)) for f in reader]
    assert [s[:2] for s in seen] == [(i, float(i)) for i in range(40)]
    blur = 5 if codec == "gif" else 1  # a fixed palette of 256 colours
    assert max(abs(shown - i) for i, _, shown in seen) <= blur  # the pictures are those of these numbers
    assert reader.broken == []


def test_reader_starts_again_at_every_iteration(tmp_path):
    reader = read_video(encode(tmp_path / "a.mp4", count=5))
    assert [f.index for f in reader] == [f.index for f in reader] == [0, 1, 2, 3, 4]


def test_start_and_stop_keep_numbers_and_times_of_the_source(tmp_path):
    reader = read_video(encode(tmp_path / "a.mp4"), start=10, stop=13)
    assert reader.length == 3
    assert [(f.index, round(f.timestamp, 6)) for f in reader] == [(10, 0.4), (11, 0.44), (12, 0.48)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_given_frame_rate_replaces_the_times_of_the_file(tmp_path, name):
    reader = read_video(encode(tmp_path / name, count=3), frame_rate=50)
    assert reader.frame_rate == 50 and [f.timestamp for f in reader] == [0.0, 0.02, 0.04]
    assert reader.length == 3 and reader.broken == []


def test_variable_frame_rate_keeps_its_times(tmp_path):
    times = [0.0, 0.04, 0.1, 0.5, 0.52, 2.0]
    with write_video(tmp_path / "v.mp4", SIZE, 25) as video:
        for i, t in enumerate(times):
            video.write(picture(i), t + 7.0)
    assert [f.timestamp for f in read_video(tmp_path / "v.mp4")] == pytest.approx(times, abs=1e-4)


@pytest.mark.parametrize(("degrees", "corner"), [(0, (0, 0)), (90, (-1, 0)), (180, (-1, -1)), (-90, (0, -1))])
def test_rotation_in_the_file_is_applied(tmp_path, degrees, corner):
    white_corner = np.zeros((96, 160, 3), np.uint8)
    white_corner[:48, :80] = 255
    with av.open(str(tmp_path / "r.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.set_display_rotation(degrees)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(white_corner, format="rgb24")))
        container.mux(stream.encode())
    reader = read_video(tmp_path / "r.mp4")
    assert reader.size == ((160, 96) if degrees % 180 == 0 else (96, 160))
    rgb = next(iter(reader)).to_rgb()
    corners = {c: int(rgb[c][0]) for c in ((0, 0), (0, -1), (-1, 0), (-1, -1))}
    assert max(corners, key=corners.get) == corner


# --- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "packet"),
    [
        ("a.mp4", "libx264", 5),  # a B-frame
        ("a.mp4", "libx264", 39),  # the last packet
        ("m.mp4", "mpeg4", 20),
        ("b.avi", "mjpeg", 5),
    ],
)
def test_garbage_in_the_middle_costs_one_frame_and_is_named(tmp_path, caplog, name, codec, packet):
    path = encode(tmp_path / name, codec, pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p")
    lost = spoil(path, packet)
    reader = read_video(path)
    with caplog.at_level(logging.WARNING):
        seen = [(f.index, round(f.timestamp * 25, 2)) for f in reader]
    assert seen == [(i, float(i)) for i in range(40) if i != lost]
    assert reader.broken == [BrokenFrame(lost, "it cannot be decoded")]
    assert f"{path}: frame {lost} is left out: it cannot be decoded" in caplog.text


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv"])
def test_lost_key_frame_costs_its_group_and_numbers_stay_true(tmp_path, name):
    path = encode(tmp_path / name)
    spoil(path, 12)
    reader = read_video(path)
    seen = [(f.index, f.timestamp) for f in reader]
    assert all(abs(t * 25 - i) < 0.1 for i, t in seen)
    assert seen[-1][0] == 39 and len(seen) >= 28
    assert sorted([i for i, _ in seen] + [b.index for b in reader.broken]) == list(range(40))


def test_damage_at_the_very_start_does_not_shift_numbers_and_times(tmp_path):
    path = encode(tmp_path / "m.mp4", "mpeg4")
    spoil(path, 0)
    reader = read_video(path)
    seen = [(f.index, round(f.timestamp * 25, 2)) for f in reader]
    assert reader.broken[0].index == 0 and seen == [(i, float(i)) for i in range(40 - len(seen), 40)]


def test_avi_with_b_frames_goes_on_after_damage(tmp_path):
    path = encode(tmp_path / "a.avi")
    spoil(path, 5)
    reader = read_video(path)
    assert sorted([f.index for f in reader] + [b.index for b in reader.broken]) == list(range(40))
    assert len(reader.broken) == 1


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("b.avi", "mjpeg"), ("a.avi", "libx264"), ("a.mkv", "libx264")]
)
def test_cut_off_file_gives_its_beginning_and_says_what_is_missing(tmp_path, caplog, name, codec):
    path = encode(tmp_path / name, codec, pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p")
    assert broken_off(path) is None
    data = path.read_bytes()
    path.write_bytes(data[: int(0.6 * len(data))])
    reader = read_video(path)
    seen = [f.index for f in reader]
    assert 10 < len(seen) < 30 and seen[:10] == list(range(10))
    assert sorted(seen + [b.index for b in reader.broken]) == list(range(len(seen) + len(reader.broken)))
    reason = f"the video breaks off: {len(seen)} of its 40 frames can be read"
    assert reader.broken[-1].reason == reason and caplog.messages[-1] == f"{path}: {reason}"
    read = re.fullmatch(r"the video breaks off: (\d+) of its 40 frames can be read", broken_off(path) or "")
    assert read is not None and abs(int(read[1]) - len(seen)) <= 1  # nobody decodes what is cut in the middle


def test_broken_frames_before_start_are_not_reported(tmp_path):
    path = encode(tmp_path / "b.avi", "mjpeg", pix_fmt="yuvj420p")
    spoil(path, 5)
    reader = read_video(path, start=10)
    assert next(iter(reader)).index == 10 and reader.broken == []
    reader = read_video(path, stop=6)
    assert [f.index for f in reader] == [0, 1, 2, 3, 4] and [b.index for b in reader.broken] == [5]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "found an empty file"),
        (b"hello " * 100, "expected a video"),
        (random.Random(1).randbytes(5000), "expected a"),
    ],
)
def test_file_that_is_no_video_is_refused_with_its_path(tmp_path, content, expected):
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=expected) as caught:
        read_video(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_text_file_is_not_read_as_text_art(tmp_path):
    (tmp_path / "det.txt").write_text("1,-1,10,20,30,40,0.9,-1,-1,-1\n" * 50)  # FFmpeg would show it as a film
    with pytest.raises(UserError, match="expected a video"):
        read_video(tmp_path / "det.txt")


def test_mp4_without_its_index_is_refused(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:  # the index stands at the end
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for i in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode())
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="expected a video"):
        read_video(tmp_path / "a.mp4")


def test_absent_source_and_bad_arguments_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.mp4: expected a video file, found nothing"):
        read_video(tmp_path / "none.mp4")
    with pytest.raises(UserError, match="empty list"):
        read_video([])
    with pytest.raises(UserError, match="0 <= start < stop"):
        read_video(tmp_path, start=5, stop=5)
    with pytest.raises(UserError, match="positive frame rate"):
        read_video(tmp_path, frame_rate=0)
    with pytest.raises(UserError, match="a start before frame 5"):
        read_video(encode(tmp_path / "a.mp4", count=5), start=5)


# --- images --------------------------------------------------------------------------------------------------------


def save_images(folder: Path, count: int = 12) -> list[Path]:
    paths = [folder / f"frame{i}.png" for i in range(count)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), picture(i))
    return paths


def test_folder_glob_and_list_give_the_same_frames(tmp_path):
    paths = save_images(tmp_path)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._frame0.png").write_bytes(b"left by a file manager")
    for source in (tmp_path, str(tmp_path / "frame*.png"), paths):
        reader = read_video(source, frame_rate=10)
        seen = [(f.index, f.timestamp, number_of(f)) for f in reader]
        assert seen == [(i, i / 10, i) for i in range(12)], source  # frame2 before frame10
        assert (reader.length, reader.size, reader.frame_rate) == (12, SIZE, 10)
    assert [f.index for f in read_video(tmp_path, start=3, stop=5)] == [3, 4]
    assert [f.index for f in read_video(paths[0])] == [0]


def test_unreadable_images_are_left_out_and_named(tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(5)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), picture(i))
    paths[1].write_bytes(paths[1].read_bytes()[:900])
    paths[2].write_bytes(b"")
    paths[3].write_bytes(b"no image at all")
    reader = read_video(tmp_path)
    assert [f.index for f in reader] == [0, 4]
    assert reader.broken == [
        BrokenFrame(1, "1.jpg is cut off"),
        BrokenFrame(2, "2.jpg is empty"),
        BrokenFrame(3, "3.jpg is no readable image"),
    ]


@pytest.mark.parametrize(
    "stored",
    [
        np.full((21, 33), 100, np.uint8),  # grey
        np.full((21, 33), 100 * 257, np.uint16),  # grey, 16 bits
        np.full((21, 33, 3), 100 * 257, np.uint16),  # colour, 16 bits
        np.dstack([np.full((21, 33, 3), 100, np.uint8), np.zeros((21, 33), np.uint8)]),  # transparent
    ],
)
def test_png_of_every_kind_becomes_rgb(tmp_path, stored):
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    rgb = next(iter(read_video(tmp_path))).to_rgb()
    assert rgb.shape == (21, 33, 3) and np.abs(rgb.astype(int) - 100).max() <= 1


def test_palette_png_becomes_rgb(tmp_path):
    with av.open(str(tmp_path / "a.png"), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "pal8"
        indices, palette = np.zeros((16, 32), np.uint8), np.zeros((256, 4), np.uint8)
        indices[:, 16:], palette[:, 0] = 1, 255
        palette[0, 1:], palette[1, 1:] = (255, 0, 0), (0, 255, 0)  # alpha, red, green, blue
        container.mux(stream.encode(av.VideoFrame.from_ndarray((indices, palette), format="pal8")))
        container.mux(stream.encode())
    rgb = next(iter(read_video(tmp_path))).to_rgb()
    assert rgb[0, 0].tolist() == [255, 0, 0] and rgb[0, -1].tolist() == [0, 255, 0]


def test_colours_are_rgb_not_bgr(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8, 3), (0, 0, 255), np.uint8))  # OpenCV writes BGR: red
    assert next(iter(read_video(tmp_path))).to_rgb()[0, 0].tolist() == [255, 0, 0]


def test_image_of_another_size_is_refused_with_its_name(tmp_path):
    save_images(tmp_path, 3)
    cv2.imwrite(str(tmp_path / "frame3.png"), picture(0, (100, 120)))
    message = r"frame3\.png: expected 160 x 120 pixels like the first frame, found 100 x 120"
    with pytest.raises(FormatError, match=message):
        list(read_video(tmp_path))


def test_folders_and_patterns_without_images_are_refused(tmp_path):
    (tmp_path / "img1").mkdir()
    save_images(tmp_path / "img1", 1)
    with pytest.raises(UserError, match=r"found none \(its sub-folder img1 holds some\)"):
        read_video(tmp_path)
    with pytest.raises(UserError, match="nothing matches it"):
        read_video(str(tmp_path / "*.jpg"))
    with pytest.raises(UserError, match=r"gone\.png: expected an image file"):
        read_video([tmp_path / "img1" / "frame0.png", tmp_path / "gone.png"])
    (tmp_path / "img1" / "frame0.png").write_bytes(b"spoiled")
    with pytest.raises(UserError, match="none of 1 files can be read"):
        read_video(tmp_path / "img1")


# --- webcams -------------------------------------------------------------------------------------------------------


class FakeCamera:
    """Stands in for ``cv2.VideoCapture``: fails at read 2, and for good from read 5 on; camera 9 is not there."""

    released = 0

    def __init__(self, number: int) -> None:
        self.number, self.reads = number, 0

    def isOpened(self) -> bool:
        return self.number != 9

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.reads += 1
        ok = self.reads != 3 and self.reads <= 5
        return ok, picture(self.reads)[..., ::-1] if ok else None

    def get(self, _: int) -> float:
        return 20.0

    def set(self, *_: float) -> None: ...

    def release(self) -> None:
        FakeCamera.released += 1


def test_webcam_streams_until_the_caller_stops(monkeypatch):
    monkeypatch.setattr(webcam.cv2, "VideoCapture", FakeCamera)
    reader = read_video("0", stop=5)
    frames = list(reader)
    assert (reader.size, reader.frame_rate, reader.length) == (SIZE, 20.0, 5)
    assert [f.index for f in frames] == [0, 1, 3, 4] and [b.index for b in reader.broken] == [2]
    assert frames[0].timestamp == 0 and frames[0].timestamp < frames[-1].timestamp < 5
    before = FakeCamera.released
    for _ in read_video(0):
        break  # as on Ctrl-C: the camera is given back
    assert FakeCamera.released == before + 2


def test_webcam_that_is_absent_or_goes_away_is_refused(monkeypatch):
    monkeypatch.setattr(webcam.cv2, "VideoCapture", FakeCamera)
    with pytest.raises(UserError, match="camera 9: cannot be opened"):
        read_video(9)
    with pytest.raises(UserError, match="camera 0: expected pictures, the camera has stopped delivering"):
        list(read_video(0))


# --- writing -------------------------------------------------------------------------------------------------------


def write(path: Path, size: tuple[int, int] = SIZE, count: int = 10) -> Path:
    with write_video(path, size, 25) as video:
        for i in range(count):
            video.write(picture(i, size))
    return path


def test_written_file_is_what_browsers_play(tmp_path):
    path = write(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    data = path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")  # plays while it loads
    assert b"Lavf" not in data[: data.find(b"mdat")]  # no version of the writing software in the header
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("size", [(160, 120), (161, 121), (33, 17), (1, 1), (320, 240), (176, 144)])
def test_any_size_is_written_with_the_same_bytes_each_time(tmp_path, size):
    digests = {hashlib.sha256(write(tmp_path / f"{k}.mp4", size).read_bytes()).hexdigest() for k in range(3)}
    assert len(digests) == 1
    reader = read_video(tmp_path / "0.mp4")
    assert reader.size == (size[0] + size[0] % 2, size[1] + size[1] % 2) and len(list(reader)) == 10


def test_pictures_and_colours_survive(tmp_path):
    frames = list(read_video(write(tmp_path / "a.mp4")))
    assert [number_of(f) for f in frames] == list(range(10))
    for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)):
        with write_video(tmp_path / "c.mp4", (64, 64), 25) as video:
            video.write(np.full((64, 64, 3), color, np.uint8))
        middle = next(iter(read_video(tmp_path / "c.mp4"))).to_rgb()[32, 32]
        assert np.abs(middle.astype(int) - color).max() <= 3


def test_video_of_one_frame(tmp_path):
    reader = read_video(write(tmp_path / "a.mp4", count=1))
    assert [(f.index, f.timestamp) for f in reader] == [(0, 0.0)] and reader.length == 1


def test_nothing_is_left_after_an_error_and_the_old_file_stays(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"the old one")
    with pytest.raises(KeyboardInterrupt), write_video(tmp_path / "a.mp4", SIZE, 25) as video:
        video.write(picture(0))
        raise KeyboardInterrupt
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.mp4", b"the old one")]
    with pytest.raises(UserError, match="at least one frame"), write_video(tmp_path / "b.mp4", SIZE, 25):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_wrong_use_of_the_writer_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"ending in \.mp4"):
        write_video(tmp_path / "a.avi", SIZE, 25)
    with pytest.raises(UserError, match="existing folder"):
        write_video(tmp_path / "none" / "a.mp4", SIZE, 25)
    with pytest.raises(UserError, match="positive frame rate"):
        write_video(tmp_path / "a.mp4", SIZE, float("nan"))
    with write_video(tmp_path / "a.mp4", SIZE, 25) as video:
        video.write(picture(0), 1.0)
        with pytest.raises(UserError, match="expected rising timestamps"):
            video.write(picture(1), 1.0)
        with pytest.raises(UserError, match=r"expected frames \(120, 160, 3\) uint8"):
            video.write(picture(0)[:50])


def test_without_x264_another_codec_that_browsers_play_is_used(tmp_path, monkeypatch):
    vp9 = video_writer.ENCODERS["libvpx-vp9"]
    monkeypatch.setattr(video_writer, "ENCODERS", {"no-such-encoder": {}, "libvpx-vp9": vp9})
    path = write(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "vp9"
    assert len(list(read_video(path))) == 10
    monkeypatch.setattr(video_writer, "ENCODERS", {"no-such-encoder": {}})
    with pytest.raises(UserError, match="expected one of the encoders no-such-encoder"):
        write(tmp_path / "b.mp4")


# --- memory --------------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_length(tmp_path):
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    path = write(tmp_path / "long.mp4", (96, 64), 2000)
    frame_bytes = 96 * 64 * 3 * 4  # 2000 of them are 147 MB
    marks = [resident() for f in read_video(path) if f.index in (300, 1999)]
    assert marks[1] - marks[0] < 100 * frame_bytes
