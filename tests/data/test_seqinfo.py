from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scenegraph_track.data.seqinfo import _parse, read_seqinfo
from scenegraph_track.errors import FormatError, UserError

FULL = (
    "[Sequence]\r\nname=A-01\r\nimDir=img1\r\nframeRate=29.97\r\n"
    "seqLength=7\r\nimWidth=64\r\nimHeight=48\r\nimExt=.png\r\n"
)


def test_the_file_says_it_all(tmp_path):
    (tmp_path / "seqinfo.ini").write_bytes(b"\xef\xbb\xbf" + FULL.encode())
    info = read_seqinfo(tmp_path)
    assert (info.name, info.frame_rate, info.frame_rate_known) == ("A-01", 29.97, True)
    assert (info.length, info.size, info.image_dir, info.extension) == (7, (64, 48), None, ".png")


def test_without_the_file_images_give_length_and_size(tmp_path):
    folder = tmp_path / "seq" / "img1"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(folder / f"{number:06d}.png")
    info = read_seqinfo(folder.parent)
    assert (info.name, info.frame_rate, info.frame_rate_known) == ("seq", 30, False)
    assert (info.length, info.size, info.image_dir, info.extension) == (3, (64, 48), folder, ".png")


def test_without_images_the_last_row_gives_the_length(tmp_path):
    for part, frame in (("det", 5), ("gt", 9)):
        (tmp_path / part).mkdir()
        (tmp_path / part / f"{part}.txt").write_text(f"{frame},1,0,0,1,1,1\n1,1,0,0,1,1,1\n")
    info = read_seqinfo(tmp_path)
    assert (info.length, info.size, info.image_dir) == (9, None, None)


@pytest.mark.parametrize(
    ("text", "where", "expected"),
    [
        ("name=A\n", ":1", "a section [Sequence]"),
        ("[Other]\nname=A\n", "", "a section [Sequence]"),
        ("[Sequence]\nseqLength=3\nseqLength=4\n", ":3", "each key once"),
        ("[Sequence]\njunk\n", ":2", "key=value"),
        ("[Sequence]\nname=A\nframeRate=fast\n", ":3", "frameRate as frames per second, more than 0, found 'fast'"),
        ("[Sequence]\nframeRate=0\n", ":2", "frameRate"),
        ("[Sequence]\nframeRate=nan\n", ":2", "frameRate"),
        ("[Sequence]\nseqLength=-3\n", ":2", "seqLength as a number of frames from 0, found '-3'"),
        ("[Sequence]\nseqLength=3.5\n", ":2", "seqLength"),
        ("[Sequence]\nimWidth=0\n", ":2", "imWidth as pixels from 1"),
    ],
)
def test_impossible_files_are_refused(tmp_path, text, where, expected):
    path = tmp_path / "seqinfo.ini"
    path.write_text(text)
    with pytest.raises(FormatError) as error:
        read_seqinfo(tmp_path)
    assert str(error.value).startswith(f"{path}{where}: expected ")
    assert expected in str(error.value)


def test_a_missing_folder_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_seqinfo(tmp_path / "none")


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda t: f"[Sequence]\n{t}"))
def test_any_text_is_parsed_or_refused(text):
    with suppress(FormatError):
        _parse("seqinfo.ini", text)


def test_every_real_file_is_read(shared_data):
    folders = [path.parent for path in shared_data.glob("*/*/seqinfo.ini")]
    assert len(folders) == 24
    for folder in folders:
        info = read_seqinfo(folder)
        assert info.name == folder.name
        assert info.frame_rate_known
        assert info.length > 0
        assert info.size is not None
