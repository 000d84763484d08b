import json
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from scenegraph_track.data.youtube_vis import _decode_runs, _unpack_runs, read_video_instances
from scenegraph_track.errors import FormatError

SQUARE = np.zeros((4, 6), np.uint8)
SQUARE[1:3, 2:5] = 1


def packed(mask: np.ndarray) -> dict:
    runs = coco.encode(np.asfortranarray(mask))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode()}


def content(segmentations: list | None, **changes) -> dict:
    video = {"id": 1, "width": 6, "height": 4, "length": 2, "file_names": ["0a1/00000.jpg", "0a1/00005.jpg"]}
    annotation = {"id": 9, "video_id": 1, "category_id": 3, "segmentations": segmentations}
    return {"videos": [video | changes.pop("video", {})], "annotations": [annotation | changes]}


def write(folder: Path, value: object) -> Path:
    path = folder / "instances.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize(
    "region",
    [
        packed(SQUARE),  # compressed runs
        {"size": [4, 6], "counts": [9, 2, 2, 2, 2, 2, 5]},  # plain runs, down the columns
        [[2, 1, 5, 1, 5, 3, 2, 3]],  # a polygon
    ],
)
def test_segmentations_of_every_kind(tmp_path, region):
    video = read_video_instances(write(tmp_path, content([None, region])))["0a1"]
    assert (video.name, video.size, len(video)) == ("0a1", (6, 4), 2)
    assert not video.masks(0).any()
    np.testing.assert_array_equal(video.masks(1)[0], SQUARE.astype(bool))
    np.testing.assert_array_equal(list(video.frames())[1], SQUARE)
    tracks = video.tracks()
    assert (tracks.frames.tolist(), tracks.ids.tolist(), tracks.classes.tolist()) == ([1], [9], [3])
    assert tracks.boxes.tolist() == [[2, 1, 5, 3]]


def test_a_video_without_annotations_has_no_instances(tmp_path):
    video = read_video_instances(write(tmp_path, {"videos": content([])["videos"]}))["0a1"]
    assert video.masks(0).shape == (0, 4, 6)
    assert not next(video.frames()).any()
    assert len(video.tracks()) == 0


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1)))
def test_compressed_runs_are_decoded_as_pycocotools_encodes_them(mask):
    height, width = mask.shape
    np.testing.assert_array_equal(_decode_runs(_unpack_runs(packed(mask)["counts"]), width, height), mask)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{", ":1: expected JSON"),
        ("[]", ": expected an object with lists 'videos' and 'annotations'"),
        ({"annotations": []}, ": expected a list 'videos'"),
        ({"videos": [], "annotations": 5}, ": expected an object with lists 'videos' and 'annotations'"),
        ("[" * 100000, ": expected JSON nested less deeply"),
        ("1" * 5000, ": expected JSON nested less deeply and with shorter numbers"),
        ({"videos": [3]}, ": expected an object as videos[0]"),
        (content([None, None], video={"width": "6"}), ": expected a whole number as videos[0].width"),
        (content([None, None], video={"width": 0}), ": expected width and height from 1 to 65536 in videos[0]"),
        (content([None, None], video={"file_names": [1]}), ": expected names of images in videos[0].file_names"),
        (content([None]), ": expected 2 segmentations, one a frame, in annotation 9, found 1"),
        (content([None, None], category_id="car"), ": expected a whole number as category_id of annotation 9"),
        (content(None), ": expected a list as annotations[0].segmentations"),
    ],
)
def test_files_that_are_something_else_are_refused(tmp_path, value, expected):
    path = write(tmp_path, value)
    with pytest.raises(FormatError) as error:
        read_video_instances(path)
    assert str(error.value).startswith(f"{path}{expected}")


@pytest.mark.parametrize(
    "region",
    [
        {"size": [6, 4], "counts": [24]},  # height and width exchanged
        {"size": [4, 6], "counts": [9, 2]},  # runs that do not fill the mask
        {"size": [4, 6], "counts": [30, -6]},
        {"size": [4, 6], "counts": "zzz"},
        {"size": [4, 6], "counts": "é"},
        {"size": [4, 6], "counts": None},
        {"counts": [24]},
        [[1, 2, 3]],
        [],
        [["a", "b", "c", "d", "e", "f"]],
        "runs",
        7,
    ],
)
def test_wrong_segmentations_are_refused_when_they_are_decoded(tmp_path, region):
    video = read_video_instances(write(tmp_path, content([region, None])))["0a1"]
    with pytest.raises(FormatError, match="expected run lengths or polygons of 6 x 4 pixels for annotation 9"):
        video.masks(0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=True) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["size", "counts", "id"]), inner),
    max_leaves=6,
)


@given(st.text(max_size=30) | json_values.map(json.dumps) | json_values.map(lambda v: json.dumps(content([v, v]))))
def test_any_text_is_read_or_refused_with_a_format_error(junk):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "junk.json"
        path.write_bytes(junk.encode("utf-8", "surrogatepass"))
        with suppress(FormatError):
            for video in read_video_instances(path).values():
                video.tracks()
